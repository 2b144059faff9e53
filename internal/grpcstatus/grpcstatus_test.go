package grpcstatus

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCodes(t *testing.T) {
	for code := range NumCodes {
		name, word := Name(code), names[code].word
		if name == "" || strings.ToLower(strings.ReplaceAll(name, "_", "-")) != word {
			t.Errorf("code %d is %q and %q", code, name, word)
		}
		for _, text := range []string{Prefix + word, Prefix + Decimal(code)} {
			got, ok := Parse(text)
			if ok != (code != OK) || ok && got != code {
				t.Errorf("Parse(%q) = %d, %v", text, got, ok)
			}
		}
	}
	if Name(17) != "17" || Name(254) != "254" || Unauthenticated != 16 || Unavailable != 14 {
		t.Error("a code is not what the protocol says")
	}
	if words := Words(); len(words) != 16 || words[0] != "grpc:cancelled" {
		t.Errorf("words %q", words)
	}
}

func TestInvalid(t *testing.T) {
	for _, bad := range []string{
		"", "grpc:", "unavailable", "14", "grpc:17", "grpc:0", "grpc:ok", "grpc:014", "grpc:+14", "grpc:UNAVAILABLE", "GRPC:unavailable",
		"grpc: unavailable", "grpc:data_loss", "grpc:unavailabl", "grpc:canceled",
	} {
		var s Set
		if code, ok := Parse(bad); ok || s.Add(bad) || s != 0 {
			t.Errorf("%q is taken as %d", bad, code)
		}
	}
}

func TestSet(t *testing.T) {
	var s Set
	if !s.Add("grpc:unavailable") || !s.Add("grpc:1") {
		t.Fatal("words are not taken")
	}
	for code := range 256 {
		if want := code == 14 || code == 1; s.Has(uint8(code)) != want {
			t.Errorf("Has(%d) = %v", code, !want)
		}
	}
}

// FuzzAppendMessage: what is written holds printable ASCII only and reads back.
func FuzzAppendMessage(f *testing.F) {
	f.Add("plain words")
	f.Add("100 %\r\ngrpc-status: 0")
	f.Add("日本\x00\xff")
	f.Fuzz(func(t *testing.T, text string) {
		got := string(AppendMessage(nil, text))
		for _, r := range got {
			if r < ' ' || r > '~' {
				t.Fatalf("%q holds %q", got, r)
			}
		}
		back, err := url.PathUnescape(got)
		if err != nil || back != text || !utf8.ValidString(got) {
			t.Fatalf("%q came back as %q: %v", text, back, err)
		}
	})
}
