package health

import (
	"bufio"
	"strings"
	"testing"

	"github.com/weirproxy/weir/config"
)

const ping = "*1\r\n$4\r\nPING\r\n"

func TestRedis(t *testing.T) {
	for _, tt := range []struct{ name, answer, want string }{
		{"fit", "+PONG\r\n", ""},
		{"loading", "-LOADING Redis is loading the dataset in memory\r\n", "PING: LOADING Redis is loading the dataset in memory"},
		{"login", "-NOAUTH Authentication required.\r\n", "PING: NOAUTH Authentication required. (give health a password)"},
		{"master down", "-MASTERDOWN Link with MASTER is down\r\n", "PING: MASTERDOWN Link with MASTER is down"},
		{"an error without a sentence", "-ERR\r\n", "PING: ERR"},
		{"another status", "+OK\r\n", `PING: the answer is "OK", not PONG`},
		{"another protocol", "HTTP/1.1 400 Bad Request\r\n\r\n", "PING: the answer is not that of Redis"},
		{"no carriage return", "+PONG\n", "PING: the answer is not that of Redis"},
		{"cut off", "+PON", "PING: the answer is cut off"},
		{"nothing", "", "PING: the connection was closed without an answer"},
		{"without end", "+" + strings.Repeat("A", 4<<10), "PING: the answer is longer than 1024 bytes"},
		{"control characters", "-ERR a\x1b[31mb\x00\r\n", "PING: ERR a?[31mb?"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := checkOnce(t, config.HealthCheck{Type: "redis"}, "", turn{ping, tt.answer})
			if got := reason(err); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestRedisLogin(t *testing.T) {
	const auth, named = "*2\r\n$4\r\nAUTH\r\n$6\r\ns3 ret\r\n", "*3\r\n$4\r\nAUTH\r\n$4\r\nweir\r\n$6\r\ns3 ret\r\n"
	for _, tt := range []struct {
		name, user string
		turns      []turn
		want       string
	}{
		{"fit", "", []turn{{auth, "+OK\r\n"}, {ping, "+PONG\r\n"}}, ""},
		{"with a user", "weir", []turn{{named, "+OK\r\n"}, {ping, "+PONG\r\n"}}, ""},
		{"wrong", "", []turn{{auth, "-WRONGPASS invalid username-password pair\r\n"}}, "AUTH: the server refuses the login: WRONGPASS"},
		// Redis itself repeats the words of a command that it does not know.
		{"repeated", "", []turn{{auth, "-ERR unknown command 'AUTH', with args beginning with: 's3 ret' \r\n"}}, "AUTH: the server refuses the login: ERR"},
		{"repeated as the code", "", []turn{{auth, "-s3 ret\r\n"}}, "AUTH: the server refuses the login"},
		{"logged in and loading", "", []turn{{auth, "+OK\r\n"}, {ping, "-LOADING soon\r\n"}}, "PING: LOADING soon"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := checkOnce(t, config.HealthCheck{Type: "redis", User: tt.user}, "s3 ret\n", tt.turns...)
			got := reason(err)
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			if strings.Contains(got, "s3") {
				t.Errorf("the password stands in %q", got)
			}
		})
	}
}

func FuzzReadReply(f *testing.F) {
	for _, seed := range []string{"+PONG\r\n", "-LOADING x\r\n", ":1\r\n", "$4\r\nPONG\r\n", "+\r\n", "\r\n", "\n", "+PONG\n", strings.Repeat("-", 2000)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		err := readReply(bufio.NewReaderSize(strings.NewReader(string(answer)), maxReply), "PONG")
		if good := strings.HasPrefix(string(answer), "+PONG\r\n"); (err == nil) != good {
			t.Errorf("%q: %v", answer, err)
		}
		if err != nil && (len(err.Error()) > 2*longestText+100 || strings.ContainsAny(err.Error(), "\r\n\x00\x1b")) {
			t.Errorf("%q makes the reason %q", answer, err)
		}
	})
}
