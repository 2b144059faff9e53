package stream

import "testing"

func TestIsToken(t *testing.T) {
	// RFC 9110 section 5.6.2: every visible byte but the delimiters.
	const delimiters = "\"(),/:;<=>?@[\\]{}"
	for c := range 256 {
		want := c > ' ' && c < 0x7f
		for _, d := range []byte(delimiters) {
			want = want && byte(c) != d
		}
		if s := "a" + string([]byte{byte(c)}); IsToken(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
	if IsToken("") {
		t.Error("nothing is a token")
	}
}

func TestBadValueByte(t *testing.T) {
	for s, want := range map[string]int{
		"": -1, "a b": -1, "a\tb": -1, "~": -1, " a": 0, "a ": 1, "\ta": 0, "a\nb": 1, "a\x00": 1, "\x7f": 0, "é": 0,
	} {
		if got := BadValueByte(s); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}
