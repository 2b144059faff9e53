package http3

// The classes of bytes of RFC 9110 section 5.6.2 and 5.5.
const (
	tokenByte  = 1 << iota // tchar
	lowerByte              // tchar but for upper case: names on the wire (RFC 9114 section 4.2)
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
		t[c] |= tokenByte | lowerByte
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c] |= tokenByte | lowerByte
		t[c-'a'+'A'] |= tokenByte
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] |= tokenByte | lowerByte
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

// validValue tells whether s may stand as a field value: no control byte but
// the tab, and no white space at its ends (RFC 9110 section 5.5).
func validValue(s string) bool {
	if s == "" {
		return true
	}
	return is(s, valueByte) && !blank(s[0]) && !blank(s[len(s)-1])
}

func blank(c byte) bool { return c == ' ' || c == '\t' }
