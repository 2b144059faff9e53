package framed

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func lines(delimiter string, max int) config.Framing {
	return config.Framing{Type: "line", Delimiter: delimiter, Max: config.Size(max)}
}

func lengths(size int, order string, inclusive bool, max int) config.Framing {
	return config.Framing{Type: "length", LengthBytes: size, ByteOrder: order, Inclusive: inclusive, Max: config.Size(max)}
}

func mustFraming(t testing.TB, f config.Framing) framing {
	t.Helper()
	made, err := newFraming(&f)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestFrames(t *testing.T) {
	for _, c := range []struct {
		name    string
		framing config.Framing
		content string
		frame   string
	}{
		{"line", lines("\n", 10), "abc", "abc\n"},
		{"empty line", lines("\n", 10), "", "\n"},
		{"line at the limit", lines("\n", 3), "abc", "abc\n"},
		{"CRLF", lines("\r\n", 10), "a\nb\rc", "a\nb\rc\r\n"},
		{"CRLF behind CR", lines("\r\n", 10), "a\r", "a\r\r\n"},
		{"long delimiter", lines("--end--", 10), "a-end", "a-end--end--"},
		{"1 byte", lengths(1, "big", false, 300), strings.Repeat("a", 255), "\xff" + strings.Repeat("a", 255)},
		{"1 byte, inclusive", lengths(1, "big", true, 300), strings.Repeat("a", 254), "\xff" + strings.Repeat("a", 254)},
		{"2 bytes, big", lengths(2, "big", false, 1000), strings.Repeat("a", 258), "\x01\x02" + strings.Repeat("a", 258)},
		{"2 bytes, little", lengths(2, "little", false, 1000), strings.Repeat("a", 258), "\x02\x01" + strings.Repeat("a", 258)},
		{"4 bytes, big", lengths(4, "big", false, 10), "abc", "\x00\x00\x00\x03abc"},
		{"4 bytes, big, inclusive", lengths(4, "big", true, 10), "abc", "\x00\x00\x00\x07abc"},
		{"4 bytes, little, inclusive", lengths(4, "little", true, 10), "abc", "\x07\x00\x00\x00abc"},
		{"4 bytes, nothing", lengths(4, "big", false, 10), "", "\x00\x00\x00\x00"},
		{"4 bytes, inclusive, nothing", lengths(4, "big", true, 10), "", "\x00\x00\x00\x04"},
		{"8 bytes, big", lengths(8, "big", false, 10), "abc", "\x00\x00\x00\x00\x00\x00\x00\x03abc"},
		{"8 bytes, little", lengths(8, "little", false, 10), "abc", "\x03\x00\x00\x00\x00\x00\x00\x00abc"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := mustFraming(t, c.framing)
			frame, err := f.seal(append(f.open(nil), c.content...))
			if err != nil || string(frame) != c.frame {
				t.Fatalf("made %q, %v", frame, err)
			}
			both := append(bytes.Clone(frame), frame...)
			for n := range both {
				content, size, err := f.find(both[:n], max(0, n-1))
				whole := n >= len(frame)
				if err != nil || whole != (size == len(frame)) || whole && string(content) != c.content || !whole && size != 0 {
					// Where the frame was there before, seen says nothing of its end.
					if content, size, err = f.find(both[:n], 0); err != nil || whole != (size == len(frame)) || whole && string(content) != c.content {
						t.Fatalf("%d bytes: %q, size %d, %v", n, content, size, err)
					}
				}
			}
		})
	}
}

func TestFramesRefused(t *testing.T) {
	for _, c := range []struct {
		name    string
		framing config.Framing
		bytes   string
		want    error
	}{
		{"long line", lines("\n", 3), "abcd\n", errTooLarge},
		{"long line without an end", lines("\n", 3), "abcd", errTooLarge},
		{"long line, half a delimiter", lines("\r\n", 3), "abc\rx", errTooLarge},
		{"long line that may end yet", lines("\r\n", 3), "abc\r", nil},
		{"more than fits", lengths(4, "big", false, 3), "\x00\x00\x00\x04", errTooLarge},
		{"the most that can be said", lengths(4, "big", false, 3), "\xff\xff\xff\xff", errTooLarge},
		{"the most in 8 bytes", lengths(8, "big", false, 3), "\xff\xff\xff\xff\xff\xff\xff\xff", errTooLarge},
		{"8 bytes that are negative elsewhere", lengths(8, "little", true, 3), "\x00\x00\x00\x00\x00\x00\x00\x80", errTooLarge},
		{"less than itself", lengths(4, "big", true, 3), "\x00\x00\x00\x03", errShort},
		{"nothing at all", lengths(1, "big", true, 3), "\x00", errShort},
	} {
		f := mustFraming(t, c.framing)
		if content, size, err := f.find([]byte(c.bytes), 0); !errors.Is(err, c.want) || size != 0 || content != nil {
			t.Errorf("%s: %q, size %d, %v", c.name, content, size, err)
		}
	}
	for _, c := range []struct {
		name    string
		framing config.Framing
		content string
		want    error
	}{
		{"a delimiter inside", lines("\n", 99), "a\nb", errDelimiter},
		{"a delimiter at the end", lines("\n", 99), "a\n", errDelimiter},
		{"a delimiter made with the end", lines("aa", 99), "xa", errDelimiter},
		{"two that share bytes", lines("--end--", 99), "a--end", errDelimiter},
		{"a long one made with the end", lines("\n.\n", 99), "x\n.", errDelimiter},
		{"1 byte", lengths(1, "big", false, 999), strings.Repeat("a", 256), errNumber},
		{"1 byte, inclusive", lengths(1, "big", true, 999), strings.Repeat("a", 255), errNumber},
		{"2 bytes", lengths(2, "little", false, 1<<20), strings.Repeat("a", 1<<16), errNumber},
	} {
		f := mustFraming(t, c.framing)
		if frame, err := f.seal(append(f.open(nil), c.content...)); !errors.Is(err, c.want) || frame != nil {
			t.Errorf("%s: %.40q, %v", c.name, frame, err)
		}
	}
}

func TestFramingRefused(t *testing.T) {
	for _, f := range []config.Framing{
		{}, {Type: "line", Max: 1}, {Type: "line", Delimiter: "\n"}, lengths(3, "big", false, 1), lengths(0, "big", false, 1), {Type: "x", Max: 1},
	} {
		if _, err := newFraming(&f); err == nil {
			t.Errorf("%+v is taken", f)
		}
	}
}

// allFramings are one of each kind, with small limits.
func allFramings() (all []config.Framing) {
	for _, delimiter := range []string{"\n", "\r\n", "aa", "\n.\n", "abcabd"} {
		all = append(all, lines(delimiter, 50))
	}
	for _, size := range []int{1, 2, 4, 8} {
		for _, order := range []string{"big", "little"} {
			all = append(all, lengths(size, order, false, 50), lengths(size, order, true, 50))
		}
	}
	return all
}

// FuzzFind: whatever comes, in whatever pieces, the frames that are found are
// the same, lie within the limits, and become the same bytes again.
func FuzzFind(f *testing.F) {
	f.Add([]byte("abc\ndef\n"), uint8(1))
	f.Add([]byte("\x00\x00\x00\x03abc\x00\x00\x00\x00"), uint8(3))
	f.Add([]byte("\x07\x00\x00\x00abc\xff\xff\xff\xff"), uint8(2))
	f.Add([]byte("aaabaaa\r\n.\r\n\n.\nabcabcabd"), uint8(5))
	all := allFramings()
	f.Fuzz(func(t *testing.T, input []byte, piece uint8) {
		for i := range all {
			fr := mustFraming(t, all[i])
			whole, err := frames(&fr, input, len(input)+1)
			pieces, err2 := frames(&fr, input, int(piece)+1)
			if !errors.Is(err, err2) || !equal(whole, pieces) {
				t.Fatalf("%+v: at once %q, %v; in pieces %q, %v", all[i], whole, err, pieces, err2)
			}
			at := 0
			for _, content := range whole {
				if len(content) > fr.max {
					t.Fatalf("%+v: %d bytes", all[i], len(content))
				}
				frame, err := fr.seal(append(fr.open(nil), content...))
				if err != nil || !bytes.HasPrefix(input[at:], frame) {
					t.Fatalf("%+v: %q becomes %q, %v", all[i], content, frame, err)
				}
				at += len(frame)
			}
		}
	})
}

// FuzzSeal: what is made of content is one frame to the reader, or none.
func FuzzSeal(f *testing.F) {
	f.Add([]byte("abc"))
	f.Add([]byte("xa"))
	f.Add([]byte("\n."))
	all := allFramings()
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) > 50 {
			content = content[:50]
		}
		for i := range all {
			fr := mustFraming(t, all[i])
			frame, err := fr.seal(append(fr.open(nil), content...))
			if err != nil {
				continue
			}
			if got, err := frames(&fr, frame, 3); err != nil || !equal(got, [][]byte{content}) {
				t.Fatalf("%+v: %q becomes %q, %v", all[i], content, got, err)
			}
		}
	})
}

// frames reads all frames of what comes in pieces, as input does.
func frames(fr *framing, all []byte, piece int) (found [][]byte, err error) {
	in := input{nc: &script{rest: all, piece: piece}, framing: fr}
	defer in.release()
	for {
		content, ok, err := in.next()
		if err != nil {
			return found, err
		}
		if ok {
			found = append(found, bytes.Clone(content))
			continue
		}
		if _, err := in.fill(); err != nil {
			return found, nil
		}
	}
}

func equal(a, b [][]byte) bool {
	return fmt.Sprintf("%q", a) == fmt.Sprintf("%q", b)
}

func BenchmarkFind(b *testing.B) {
	for _, c := range []struct {
		name    string
		framing config.Framing
		frame   string
	}{
		{"Line", lines("\r\n", 1<<20), strings.Repeat("x", 100) + "\r\n"},
		{"Length", lengths(4, "big", false, 1<<20), "\x00\x00\x00\x64" + strings.Repeat("x", 100)},
	} {
		f, frame := mustFraming(b, c.framing), []byte(c.frame)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, size, err := f.find(frame, 0); size != len(frame) || err != nil {
					b.Fatal(size, err)
				}
			}
		})
	}
}
