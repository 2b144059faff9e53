// Package scenario runs the weir binary against scripted upstreams and clients,
// one txtar file per case under testdata. Everything talks over Unix sockets
// in the directory of the case, so that no port is ever taken twice; where a
// case needs TCP (resets, addresses) the system gives the port.
//
// Commands, beside those of testscript:
//
//	upstream [-tcp] [-tls LEAF] NAME SCRIPT
//	                           listens on $WORK/NAME.sock, or with -tcp on a
//	                           port that the system picks ($NAME_ADDR and
//	                           $NAME_PORT), and plays SCRIPT to who connects
//	names NAME RECORDS         a name server on a UDP port ($NAME_ADDR in documents)
//	                           that answers with what the file says, a record per
//	                           line, or SERVFAIL to everything; again with the
//	                           same NAME: with other records from now on
//	client [-b NAME] [-tls SNI [-cert LEAF]] SOCKET SCRIPT
//	                           plays SCRIPT against a socket or address and
//	                           fails if the other side says something else; -b:
//	                           in the background, until finished NAME
//	refused STATUS FILE        each line of FILE is a request as a Go string, sent on
//	                           a connection of its own to front.sock: wants one
//	                           answer with that status, and the end
//	certs [-ca NAME] LEAF[=SAN,...]...
//	                           certificates: NAME.pem (ca.pem), LEAF.crt, LEAF.key
//	atlas FILE NET=COUNTRY,CONTINENT|ASN...
//	                           a database of addresses (.mmdb)
//	start ARGS...              starts weir and waits until it serves
//	signal NAME                sends HUP, USR1, TERM, INT or KILL to it ($PID)
//	logged [-early] TEXT       waits until its operational log has TEXT behind what
//	                           was found before; -early: or anywhere
//	address LISTENER           waits for its address, or that of admin: $LISTENER_ADDR
//	panics                     says that the case makes weir panic, by the filter faulty
//	ended CODE                 wants its end with that exit code; what it wrote
//	                           is in out.txt and err.txt then
//	stop                       sends TERM, and wants exit code 0
//	exits CODE ARGS...         runs weir and wants that exit code
//	get [curl flags] URL       one request by curl to front.sock; stdout has
//	                           status line, header and body. With a scheme and
//	                           a port in the URL: to that address
//	admin [curl flags] PATH    the same to admin.sock
//	finished NAME              wants the script of an upstream or client played
//	                           to its end
//	json N FILE                wants N lines, each a JSON object
//	absent TEXT FILE...        wants TEXT in none of the files
//	await WORD, reach WORD     wait for a script, let one go on
//
// A script is one step per line:
//
//	accept, connect            begins the part of the next connection
//	again                      the part is played for every later connection
//	send "text"                writes; Go string syntax
//	send-many N "text"         writes it N times
//	dribble PAUSE "text"       writes it after each pause, until there is an answer
//	pause TIME                 is slow, where that is the case
//	flood                      writes until the other side takes no more
//	expect "text"              reads until the text has come
//	body "text"                reads exactly this
//	head                       reads a message head and shows it to the next steps
//	rest                       reads to the end of the stream and shows that
//	want "text"                what was read has this text
//	reject "text"              what was read has not
//	read N                     reads N bytes
//	eof                        wants the end of the stream
//	close, reset, close-write  ends the connection, or our half of it
//	stall                      says nothing until the other side leaves
//	await word, reach word     wait for the case or a script, let one go on
//
// A script without a step says that nobody connects. In *.yaml files $WORK is
// the directory of the case.
package scenario
