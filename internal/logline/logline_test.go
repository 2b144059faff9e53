package logline

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestFields(t *testing.T) {
	seen := map[string]bool{}
	for f := range NumFields {
		if f.String() == "" || f.Form() == "" || f.Doc() == "" || seen[f.String()] {
			t.Errorf("field %d (%q) has no name, form or doc of its own", f, f)
		}
		seen[f.String()] = true
		if got, ok := lookup(f.String()); !ok || got != f {
			t.Errorf("lookup(%q) = %v, %v", f, got, ok)
		}
	}
}

func TestParse(t *testing.T) {
	parts, err := Parse(`{{{client}}} "{method}" {header:X-Tenant}!`)
	if err != nil {
		t.Fatal(err)
	}
	want := Template{
		{Literal: "{"}, {Field: Client}, {Literal: `} "`}, {Field: Method}, {Literal: `" `}, {Header: "X-Tenant"}, {Literal: "!"},
	}
	if len(parts) != len(want) {
		t.Fatalf("got %+v, want %+v", parts, want)
	}
	for i := range want {
		if parts[i] != want[i] {
			t.Errorf("part %d: got %+v, want %+v", i, parts[i], want[i])
		}
	}
	if err := Validate(DefaultTemplate); err != nil {
		t.Error(err)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"{stauts}":         "no field {stauts}; there are time, id",
		"{":                `write "{{"`,
		"a}b":              `write "}}"`,
		"{status":          `write "{{"`,
		"{header:}":        "does not name a header field",
		"{header:X Y}":     "does not name a header field",
		"{}":               "no field {}",
		"{status}\n":       "control character",
		"{status}\x1b[31m": "control character",
	} {
		if err := Validate(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate(%q) = %v, want %q", text, err, want)
		}
	}
}

func TestClock(t *testing.T) {
	var c Clock
	zone := time.FixedZone("", 3*3600)
	for _, want := range []time.Time{
		time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
		time.Date(2026, 5, 1, 12, 0, 0, 999_999_999, time.UTC),
		time.Date(2026, 5, 1, 15, 0, 0, 7_000_000, zone),
		time.Date(2026, 12, 31, 23, 59, 59, 42_000_000, time.UTC),
		time.Date(2026, 5, 1, 12, 0, 0, 1_000_000, time.UTC),
	} {
		got := string(c.Append(nil, want))
		if got != want.UTC().Format("2006-01-02T15:04:05.000Z") {
			t.Errorf("Append(%v) = %s", want, got)
		}
	}
}

func TestAppendMillis(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.000", -time.Second: "0.000", 999: "0.000", time.Microsecond: "0.001",
		1234567 * time.Nanosecond: "1.234", 61 * time.Second: "61000.000",
	} {
		if got := string(AppendMillis(nil, d)); got != want {
			t.Errorf("AppendMillis(%v) = %s, want %s", d, got, want)
		}
	}
}

// hostile are values that have broken somebody's log.
var hostile = []string{
	"", "plain", "two words", "\r\n", "a\nb", "\x1b[2J\x1b[31m", `"`, `\`, `\"`, `","admin":true,"x":"`,
	"\x00", "\x7f", "\u0085", "\u009b31m", "\u2028\u2029", "\u202e", "\ufeff", "\xff\xfe", "\xc0\x8a", "a\xe2\x80",
	"</script><script>alert(1)</script>", "héllo wörld", "日本", "😀", "\U000e0001", strings.Repeat("\n", 100),
}

func TestHostileValues(t *testing.T) {
	for _, s := range hostile {
		checkEscapes(t, s)
	}
}

func FuzzEscapes(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(checkEscapes)
}

func checkEscapes(t *testing.T, s string) {
	quoted := append(AppendJSON([]byte{'"'}, s), '"')
	for _, r := range string(quoted[1 : len(quoted)-1]) {
		if !unicode.IsPrint(r) || r == '<' || r == '>' {
			t.Errorf("%q: %q is in the JSON form %s", s, r, quoted)
		}
	}
	var back string
	if err := json.Unmarshal(quoted, &back); err != nil {
		t.Errorf("%q: %s: %v", s, quoted, err)
	}
	if want := strings.ToValidUTF8(s, "\ufffd"); utf8.ValidString(s) && back != want {
		t.Errorf("%q came back as %q", s, back)
	}
	if fromBytes := AppendJSON(nil, []byte(s)); string(fromBytes) != string(quoted[1:len(quoted)-1]) {
		t.Errorf("%q: bytes and string differ", s)
	}
	for _, c := range AppendText(nil, s) {
		if c < ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' {
			t.Errorf("%q: %q is in the text form", s, c)
		}
	}
}

// Eight bytes at a time are judged as one at a time, wherever the odd one stands.
func TestPlainWords(t *testing.T) {
	for c := range 256 {
		for at := range 8 {
			word := []byte("abcdefgh")
			word[at] = byte(c)
			if got, want := plainWords(word) == 8, plain[c]; got != want {
				t.Errorf("%q: plain %v, want %v", word, got, want)
			}
		}
	}
}
