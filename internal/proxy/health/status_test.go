package health

import (
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadStatus(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		status       int
		err          string
	}{
		{"plain", "HTTP/1.1 200 OK\r\n", 200, ""},
		{"1.0", "HTTP/1.0 204 No Content\r\n\r\n", 204, ""},
		{"no reason", "HTTP/1.1 200\r\n", 200, ""},
		{"bare newline", "HTTP/1.1 503 x\n", 503, ""},
		{"interim", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n", 200, ""},
		{"switching", "HTTP/1.1 101 Switching Protocols\r\n\r\n", 0, "101"},
		{"nothing", "", 0, "closed before"},
		{"cut", "HTTP/1.1 20", 0, "closed before"},
		{"another protocol", "SSH-2.0-x\r\n", 0, "not HTTP/1"},
		{"another version", "HTTP/2.0 200 OK\r\n", 0, "not HTTP/1"},
		{"no space", "HTTP/1.1x200 OK\r\n", 0, "not HTTP/1"},
		{"sign", "HTTP/1.1 +20 OK\r\n", 0, "not HTTP/1"},
		{"four digits", "HTTP/1.1 2000 OK\r\n", 0, "not HTTP/1"},
		{"low", "HTTP/1.1 099 OK\r\n", 0, "not HTTP/1"},
		{"high", "HTTP/1.1 600 OK\r\n", 0, "not HTTP/1"},
		{"endless line", "HTTP/1.1 200 " + strings.Repeat("x", 1<<20), 0, "within 8192 bytes"},
		{"endless interim", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 1<<15), 0, "within 8192 bytes"},
		{"interim without an end", "HTTP/1.1 102 x\r\n" + strings.Repeat("a: b\r\n", 1<<15), 0, "within 8192 bytes"},
	} {
		for _, slowly := range []bool{false, true} {
			r := strings.NewReader(tt.answer)
			var status int
			var err error
			if slowly {
				status, err = readStatus(iotest.OneByteReader(r))
			} else {
				status, err = readStatus(r)
			}
			if status != tt.status || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s, slowly %v: %d, %v", tt.name, slowly, status, err)
			}
			if read := len(tt.answer) - r.Len(); read > 2*maxHead {
				t.Errorf("%s: %d bytes were read", tt.name, read)
			}
		}
	}
}

// FuzzReadStatus: whatever an endpoint sends, the result is a status that a
// final response can have or an error, and the same however it is cut.
func FuzzReadStatus(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\n")
	f.Add("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 x\n")
	f.Add("HTTP/1.1 102\n\n\r\nHTTP/1.0 204")
	f.Fuzz(func(t *testing.T, answer string) {
		status, err := readStatus(strings.NewReader(answer))
		if (err == nil) != (status >= 200 && status <= 599) {
			t.Fatalf("%d, %v", status, err)
		}
		if len(answer) > maxHead {
			return // where it stops depends on the cuts
		}
		if again, other := readStatus(iotest.OneByteReader(strings.NewReader(answer))); again != status || (other == nil) != (err == nil) {
			t.Fatalf("whole: %d, %v; in bytes: %d, %v", status, err, again, other)
		}
	})
}
