// Package scenario runs the weir binary against scripted upstreams and clients,
// one txtar file per case under testdata. Everything talks over Unix sockets
// in the directory of the case, so that no port is ever taken twice.
//
// Commands, beside those of testscript:
//
//	upstream NAME SCRIPT       listens on $WORK/NAME.sock and plays SCRIPT to
//	                           who connects
//	client SOCKET SCRIPT       plays SCRIPT against a socket and fails if the
//	                           other side says something else
//	start ARGS...              starts weir and waits until it serves
//	signal NAME                sends HUP, USR1 or TERM to it
//	logged TEXT                waits until its output has TEXT
//	stop                       sends TERM, waits, and wants exit code 0
//	get [-H 'n: v'] [-X M] [-d BODY] [-s SOCKET] PATH
//	                           one request by curl to front.sock; stdout has
//	                           status line, header and body
//	admin PATH                 the same to the admin socket
//	finished NAME              wants the script of an upstream played to its end
//
// A script is one step per line:
//
//	accept                     begins the part of the next connection (upstream)
//	again                      the part is played for every later connection
//	send "text"                writes; Go string syntax
//	send-many N "text"         writes it N times
//	expect "text"              reads until the text has come
//	head                       reads a message head and shows it to the next steps
//	want "text"                the head just read has this text
//	reject "text"              the head just read has not
//	read N                     reads N bytes of body
//	eof                        wants the end of the stream
//	close, reset               ends the connection
//	stall                      says nothing until the other side leaves
//
// In *.yaml files $WORK is the directory of the case.
package scenario
