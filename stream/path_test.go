package stream

import (
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCanonicalPath(t *testing.T) {
	for _, c := range []struct{ class, raw, want string }{
		{"as it is", "/", "/"},
		{"as it is", "/a/b.txt", "/a/b.txt"},
		{"as it is", "/a/", "/a/"},
		{"as it is", "/a;v=1/b,c@d:e!$&'()*+=~", "/a;v=1/b,c@d:e!$&'()*+=~"},
		{"as it is", "/.well-known/...", "/.well-known/..."},
		{"as it is", "/a%20b%25%3F%23%22", "/a%20b%25%3F%23%22"},
		{"as it is", "/caf%C3%A9/%F0%9F%8C%8A", "/caf%C3%A9/%F0%9F%8C%8A"},
		{"needless escape (Caddy CVE-2026-27587)", "/%61dmin", "/admin"},
		{"needless escape", "/%7Euser%2D%5F%2E%41", "/~user-_.A"},
		{"needless escape of a sub-delim", "/a%3Bb%2B%40", "/a;b+@"},
		{"case of hex (Caddy CVE-2026-27587)", "/%c3%a9%3f", "/%C3%A9%3F"},
		{"raw byte that needs an escape", "/{a}|\"<>[]^`", "/%7Ba%7D%7C%22%3C%3E%5B%5D%5E%60"},
		{"raw UTF-8", "/é", "/%C3%A9"},
		{"mixed UTF-8", "/\xc3%A9", "/%C3%A9"},
		{"Unicode case is kept (Caddy CVE-2026-27590)", "/\u212a", "/%E2%84%AA"},
		{"dot segment (Traefik CVE-2023-47106)", "/a/./b", "/a/b"},
		{"dot segment", "/a/../b", "/b"},
		{"dot segment at the end", "/a/.", "/a/"},
		{"dot segment at the end", "/a/b/..", "/a/"},
		{"encoded dot segment (Traefik CVE-2025-66490)", "/a/%2e%2E/b", "/b"},
		{"encoded dot segment", "/a/.%2e/b/%2e/", "/b/"},
		{"double slash", "//a///b//", "/a/b/"},
		{"double slash before dots", "/a//../b", "/b"},
		{"double encoding is not decoded twice", "/%252e%252e/%252Fa", "/%252e%252e/%252Fa"},
	} {
		got, err := CanonicalPath(c.raw)
		if err != nil || got != c.want {
			t.Errorf("%s: CanonicalPath(%q) = %q, %v, want %q", c.class, c.raw, got, err, c.want)
		}
		if again, err := CanonicalPath(got); again != got || err != nil {
			t.Errorf("%s: CanonicalPath(%q) = %q, %v, want it unchanged", c.class, got, again, err)
		}
	}
}

func TestCanonicalPathRefuses(t *testing.T) {
	for _, c := range []struct{ class, raw string }{
		{"no leading slash (grpc-go CVE-2026-33186)", ""},
		{"no leading slash (grpc-go CVE-2026-33186)", "pkg.Svc/M"},
		{"no leading slash", "*"},
		{"above the root", "/.."},
		{"above the root", "/a/../../b"},
		{"above the root, encoded", "/%2e%2e/etc"},
		{"encoded slash (Traefik CVE-2025-66490)", "/a%2Fb"},
		{"encoded slash", "/a%2fb"},
		{"encoded slash after dots", "/a/..%2f"},
		{"backslash (Caddy CVE-2026-52844)", `/a\b`},
		{"backslash (Caddy CVE-2026-52844)", `/a/..\b`},
		{"encoded backslash (Caddy CVE-2026-52844)", "/a%5cb"},
		{"encoded backslash", "/a/%2e%2e%5C"},
		{"NUL", "/a%00"},
		{"NUL", "/a\x00"},
		{"control", "/a%0d%0aHost:x"},
		{"control", "/a\tb"},
		{"control", "/%7f"},
		{"space", "/a b"},
		{"query", "/a?b"},
		{"fragment (oauth2-proxy CVE-2026-41059)", "/a#b"},
		{"broken escape", "/%"},
		{"broken escape", "/%4"},
		{"broken escape", "/%4g"},
		{"broken escape", "/%%41"},
		{"overlong slash", "/%c0%af"},
		{"overlong dot", "/%c0%ae%c0%ae/"},
		{"overlong dot, three bytes", "/%e0%80%ae"},
		{"overlong, raw", "/\xc0\xaf"},
		{"surrogate", "/%ed%a0%80"},
		{"cut sequence", "/%c3"},
		{"cut sequence", "/%c3/%a9"},
		{"continuation alone", "/%a9"},
		{"beyond Unicode", "/%f4%90%80%80"},
		{"dot segment with parameters (Envoy CVE-2026-73511)", "/a/..;/b"},
		{"dot segment with parameters (Envoy CVE-2026-73511)", "/a/.;x=y/b"},
		{"dot segment with parameters, encoded", "/a/%2e%2e%3b/b"},
		{"dot segment with parameters, last", "/a/..;x"},
	} {
		if got, err := CanonicalPath(c.raw); err == nil {
			t.Errorf("%s: CanonicalPath(%q) = %q, want it refused", c.class, c.raw, got)
		}
	}
}

// The generator of threats.md section 4.
func rawPath() *rapid.Generator[string] {
	piece := rapid.SampledFrom([]string{
		"%2f", "%2F", "%2e", "%2E", "%5c", "%5C", ";x=", "%3b", "/", "//", "/./", "/../", "..", ".", `\`,
		"\x00", "%00", "%c0%af", "%c0%ae", "%e0%80%af", "%252e", "%252f", "%25", "%", "a", "B", "%41", "%c3%a9", "é", "%C3",
		" ", "%20", "?", "%3F", "{", "%7b", "+", "~", "%7e", "...", ".a",
	})
	return rapid.Custom(func(t *rapid.T) string {
		return "/" + strings.Join(rapid.SliceOfN(piece, 0, 12).Draw(t, "pieces"), "")
	})
}

func TestCanonicalPathProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkPath(t, rawPath().Draw(t, "raw")) })
}

type failer interface {
	Fatalf(format string, args ...any)
}

// checkPath holds what must be true of any path: refused, or canonical in the
// words of Target, and read alike by others.
func checkPath(t failer, raw string) {
	got, err := CanonicalPath(raw)
	if err != nil {
		if got != "" {
			t.Fatalf("CanonicalPath(%q) = %q beside %v", raw, got, err)
		}
		return
	}
	if again, err := CanonicalPath(got); err != nil || again != got || !isCanonicalPath(got) {
		t.Fatalf("CanonicalPath(%q) = %q, and of that %q, %v", raw, got, again, err)
	}
	segments := strings.Split(got[1:], "/")
	for i, s := range segments {
		if s == "." || s == ".." || s == "" && i < len(segments)-1 {
			t.Fatalf("CanonicalPath(%q) = %q has a segment %q", raw, got, s)
		}
	}
	for reader, read := range map[string]func(string) ([]string, bool){"net/url": readByURL, "bytes": readByBytes} {
		of, ok := read(raw)
		ofCanonical, okCanonical := read(got)
		if !ok || !okCanonical || !slices.Equal(of, ofCanonical) || !slices.Equal(of, decodeEach(segments)) {
			t.Fatalf("%s reads %q as %q, its canonical form %q as %q", reader, raw, of, got, ofCanonical)
		}
	}
}

// readByURL sees a path as an upstream in Go does.
func readByURL(raw string) ([]string, bool) {
	u, err := url.Parse("http://h" + raw)
	if err != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, false
	}
	return cleanSegments(u.Path), true
}

// readByBytes sees a path as an upstream that decodes byte by byte and then
// cleans (nginx, C).
func readByBytes(raw string) ([]string, bool) {
	var decoded []byte
	for i := 0; i < len(raw); i++ {
		c, n, err := octet(raw[i:])
		if err != nil {
			return nil, false
		}
		decoded = append(decoded, c)
		i += n - 1
	}
	return cleanSegments(string(decoded)), true
}

func cleanSegments(decoded string) []string {
	clean := path.Clean(decoded)
	last := decoded[strings.LastIndexByte(decoded, '/')+1:]
	if clean != "/" && (last == "" || last == "." || last == "..") {
		clean += "/"
	}
	return strings.Split(clean[1:], "/")
}

func decodeEach(segments []string) []string {
	out := make([]string, len(segments))
	for i, s := range segments {
		out[i], _ = url.PathUnescape(s)
	}
	return out
}

// TestCanonicalPathCost is the test for Go CVE-2026-56860 (quadratic resolvePath).
func TestCanonicalPathCost(t *testing.T) {
	for _, pattern := range []string{"a/../", "aaaaaaaa/", "//", "%2e/", "%C3%a9/", "a/b/c/../../../", "./"} {
		for _, size := range []int{1 << 10, 1 << 14, 1 << 18} {
			raw := "/" + strings.Repeat(pattern, size/len(pattern))
			var w pathWriter
			if err := w.write(raw); err != nil {
				t.Fatalf("%q...: %v", pattern, err)
			}
			if w.work > 4*len(raw) {
				t.Errorf("%q... of %d bytes: %d steps", pattern, len(raw), w.work)
			}
		}
	}
	deep := "/" + strings.Repeat("a/", 1<<16) + strings.Repeat("../", 1<<16)
	var w pathWriter
	if err := w.write(deep); err != nil || string(w.out) != "/" || w.work > 4*len(deep) {
		t.Errorf("down and up again: %v, %d bytes out, %d steps", err, len(w.out), w.work)
	}
}

func FuzzCanonicalPath(f *testing.F) {
	for _, s := range []string{"/a/../b", "/%2e%2e;/", "/\xc3%A9", "//", "/%252e", "/a?b#c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) { checkPath(t, raw) })
}
