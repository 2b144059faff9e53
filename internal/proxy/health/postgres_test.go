package health

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
)

// message is one of PostgreSQL.
func message(kind byte, content string) string {
	head := binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(content)))
	return string(head) + content
}

func pgError(code, sentence string) string {
	return message('E', "SFATAL\x00VFATAL\x00C"+code+"\x00M"+sentence+"\x00\x00")
}

const hello = "\x00\x00\x00\x34\x00\x03\x00\x00user\x00postgres\x00application_name\x00weir-health\x00\x00"

func TestPostgres(t *testing.T) {
	for _, tt := range []struct{ name, answer, want string }{
		{"wants a password", message('R', "\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00"), ""},
		{"lets in", message('R', "\x00\x00\x00\x00"), ""},
		{"notices first", message('v', "\x00\x03\x00\x00\x00\x00\x00\x00") + message('N', "SNOTICE\x00\x00") + message('R', "\x00\x00\x00\x05salt"), ""},
		{"knows no such user", pgError("28000", `role "postgres" does not exist`), ""},
		{"is full", pgError("53300", "sorry, too many clients already"), ""},
		{"starts", pgError("57P03", "the database system is starting up"), "the server takes no logins: the database system is starting up (57P03)"},
		{"ends", pgError("57P01", "terminating connection due to administrator command"), "the server takes no logins: terminating connection due to administrator command (57P01)"},
		{"control characters", pgError("57P03", "a\x1b[31m"), "the server takes no logins: a?[31m (57P03)"},
		{"an error without a code", message('E', "SFATAL\x00\x00"), errNotPostgres.Error()},
		{"an error without an end", message('E', "C57P03"), errNotPostgres.Error()},
		{"another protocol", "HTTP/1.1 400 Bad Request\r\n\r\n", "startup: " + errNotPostgres.Error()},
		{"an empty request for a password", message('R', ""), errNotPostgres.Error()},
		{"longer than anything", "R\xff\xff\xff\xff", "startup: " + errNotPostgres.Error()},
		{"shorter than itself", "R\x00\x00\x00\x03", "startup: " + errNotPostgres.Error()},
		{"cut off", "R\x00\x00\x00\x08\x00", "startup: the answer is cut off"},
		{"nothing", "", "startup: the connection was closed without an answer"},
		{"notices without end", strings.Repeat(message('N', ""), 100), "8 messages and none that decides"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := reason(checkOnce(t, config.HealthCheck{Type: "postgres"}, "", turn{hello, tt.answer})); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestPostgresNames(t *testing.T) {
	want := "\x00\x00\x00\x3e\x00\x03\x00\x00user\x00weir\x00application_name\x00weir-health\x00database\x00shop\x00\x00"
	if got := string(startup("weir", "shop")); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if _, err := New(Config{Spec: config.HealthCheck{Type: "postgres", User: "a\x00b", Interval: 1, Timeout: 1}}); err == nil {
		t.Error("a NUL ends a name and begins another")
	}
}

// TestPostgresTLS: TLS begins on the connection, after one byte.
func TestPostgresTLS(t *testing.T) {
	const request = "\x00\x00\x00\x08\x04\xd2\x16\x2f"
	for _, tt := range []struct {
		name    string
		turns   []turn
		refused error
		secured bool
		want    string
	}{
		{"fit", []turn{{request, "S"}, {hello, message('R', "\x00\x00\x00\x00")}}, nil, true, ""},
		{"bad certificate", []turn{{request, "S"}}, errors.New("tls_failed"), true, "tls_failed"},
		{"no TLS", []turn{{request, "N"}}, nil, false, "the server does not speak TLS: switch ssl on there, or remove tls from the cluster"},
		{"an error", []turn{{request, "E\x00\x00"}}, nil, false, "the server answers SSLRequest with an error"},
		{"another protocol", []turn{{request, "H"}}, nil, false, errNotPostgres.Error()},
		{"nothing", []turn{{request, ""}}, nil, false, "SSLRequest: the connection was closed without an answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dial, got := scripted(t, tt.turns)
			secured := false
			c, err := New(Config{
				Spec: config.HealthCheck{Type: "postgres", Interval: 10, Timeout: 2e9}, Plain: dial,
				Secure: func(_ context.Context, nc net.Conn, _ *endpoint.Endpoint) (net.Conn, error) {
					if secured = true; tt.refused != nil {
						nc.Close()
						return nil, tt.refused
					}
					return nc, nil
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if said := reason(c.check(t.Context(), endpoints(1)[0])); said != tt.want || secured != tt.secured {
				t.Errorf("%q (TLS %v), want %q (TLS %v)", said, secured, tt.want, tt.secured)
			}
			got()
		})
	}
}

func FuzzReadStartup(f *testing.F) {
	for _, seed := range []string{message('R', "\x00\x00\x00\x00"), pgError("57P03", "x"), pgError("28000", "y"), message('N', "") + message('R', "abcd"), "E", "R\xff\xff\xff\xff", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		err := readStartup(bufio.NewReaderSize(strings.NewReader(string(answer)), maxPostgres))
		if err == nil && !strings.ContainsAny(string(answer), "RE") {
			t.Errorf("%q is good enough", answer)
		}
		if err != nil && (len(err.Error()) > 2*longestText+100 || strings.ContainsAny(err.Error(), "\r\n\x00\x1b")) {
			t.Errorf("%q makes the reason %q", answer, err)
		}
	})
}
