package http2

// The classes of bytes of RFC 9110 section 5.5 and 5.6.2; names are in lower
// case on the wire (RFC 9113 section 8.2.1).
const (
	nameByte   = 1 << iota // tchar without capitals
	tokenByte              // tchar
	valueByte              // HTAB, SP, VCHAR, obs-text
	targetByte             // VCHAR
)

var class = func() (t [256]uint8) {
	for c := 0x20; c <= 0xff; c++ {
		if c != 0x7f {
			t[c] |= valueByte
		}
	}
	t['\t'] |= valueByte
	for c := 0x21; c <= 0x7e; c++ {
		t[c] |= targetByte
	}
	for c := '0'; c <= '9'; c++ {
		t[c] |= tokenByte | nameByte
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c] |= tokenByte | nameByte
		t[c-'a'+'A'] |= tokenByte
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] |= tokenByte | nameByte
	}
	return t
}()

func is(s string, want uint8) bool {
	for i := 0; i < len(s); i++ {
		if class[s[i]]&want == 0 {
			return false
		}
	}
	return true
}

func validName(s string) bool  { return s != "" && is(s, nameByte) }
func validToken(s string) bool { return s != "" && is(s, tokenByte) }

// validValue: no control byte but the tab, and no space around it (RFC 9113
// section 8.2.1).
func validValue(s string) bool {
	if n := len(s); n > 0 && (s[0] == ' ' || s[0] == '\t' || s[n-1] == ' ' || s[n-1] == '\t') {
		return false
	}
	return is(s, valueByte)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// parseLength reads Content-Length (RFC 9110 section 8.6): digits only, and so
// many that they fit.
func parseLength(s string) (n int64, ok bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return 0, false
		}
		n = 10*n + int64(s[i]-'0')
	}
	return n, true
}
