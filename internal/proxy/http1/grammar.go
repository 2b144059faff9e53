package http1

// The classes of bytes of RFC 9110 section 5.6.2 and 5.5, RFC 9112 section 3.2.
const (
	tokenByte  = 1 << iota // tchar
	valueByte              // HTAB, SP, VCHAR, obs-text
	targetByte             // VCHAR; what a target may hold exactly is ParseTarget's to say
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
		t[c] |= tokenByte
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c] |= tokenByte
		t[c-'a'+'A'] |= tokenByte
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] |= tokenByte
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

func validToken(s string) bool { return s != "" && is(s, tokenByte) }

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// validValue tells whether s may stand as a field value: no control byte but
// the tab. It looks at eight bytes at a time.
func validValue(s string) bool {
	for len(s) >= 8 {
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		del := w ^ 0x7f*ones
		if ((w-0x20*ones)&^w|(del-ones)&^del)&highs != 0 && !is(s[:8], valueByte) {
			return false
		}
		s = s[8:]
	}
	return is(s, valueByte)
}

// trimOWS removes optional white space (RFC 9110 section 5.6.3) at both ends.
func trimOWS(s string) string {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// nextElement takes the first element of a comma-separated list (RFC 9110
// section 5.6.1); elements may be empty.
func nextElement(list string) (element, rest string, more bool) {
	for i := 0; i < len(list); i++ {
		if list[i] == ',' {
			return trimOWS(list[:i]), list[i+1:], true
		}
	}
	return trimOWS(list), "", false
}
