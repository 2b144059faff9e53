package jsonpointer

import (
	"strings"
	"testing"
)

func TestPlaces(t *testing.T) {
	for _, c := range []struct {
		pointers, path string
		fold, want     bool
	}{
		{"/a", "/a", false, true},
		{"/a", "", false, false},
		{"/a", "/a/b", false, false},
		{"/a", "/A", false, false},
		{"/a", "/A", true, true},
		{"/user/email", "/user/email", false, true},
		{"/items/*/id", "/items/0/id", false, true},
		{"/items/*/id", "/items/id", false, false},
		{"/items/0/id", "/items/1/id", false, false},
		{"/*", "/x", false, true},
		{"/**/password", "/password", false, true},
		{"/**/password", "/a/0/b/password", false, true},
		{"/**/password", "/a/password/b", false, false},
		{"/a/**/b/**/c", "/a/b/c", false, true},
		{"/a/**/b/**/c", "/a/x/b/b/y/c", false, true},
		{"/a/**/b/**/c", "/a/x/c", false, false},
		{"/a~1b~0", "/a~1b~0", false, true},
		{"/", "/", false, true}, // the member ""
		{"/x /a", "/a", false, true},
	} {
		set, err := Parse(strings.Fields(c.pointers), c.fold)
		if err != nil {
			t.Fatal(err)
		}
		at := set.Root()
		for _, word := range strings.Split(c.path, "/")[1:] {
			key, err := unescape(word)
			if err != nil {
				t.Fatal(err)
			}
			at = at.Down(key)
		}
		if at.Hit() != c.want {
			t.Errorf("%s at %s: %v", c.pointers, c.path, at.Hit())
		}
	}
	if !(Set{}).Root().Idle() || !(Cursor{}).Down("a").Idle() {
		t.Error("an empty set is looking for something")
	}
}

func TestRefusals(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "does not begin with a slash",
		"user":                   "does not begin with a slash",
		"$.user":                 "is no JSON pointer",
		"/a/**":                  "ends in **",
		"/a~2":                   `a "~" is written ~0`,
		"/~":                     `a "~" is written ~0`,
		strings.Repeat("/a", 33): "33 steps",
	} {
		if _, err := Parse([]string{text}, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := Parse(make([]string, MaxPointers+1), false); err == nil {
		t.Error("any number of pointers")
	}
}

// FuzzPointer: no pointer makes a cursor that grows beyond its steps, and what
// Escape writes is read as it was.
func FuzzPointer(f *testing.F) {
	f.Add("/a/**/b/*", "a/b/b/c")
	f.Add("/**/**/**/x", "x/x/x/x/x")
	f.Fuzz(func(t *testing.T, pointer, path string) {
		if key, err := unescape(Escape(path)); err != nil || key != path {
			t.Fatalf("%q is %q behind Escape: %v", path, key, err)
		}
		set, err := Parse([]string{pointer}, true)
		if err != nil {
			return
		}
		at := set.Root()
		for _, key := range strings.Split(path, "/") {
			if at = at.Down(key); len(at.open) > MaxSteps {
				t.Fatalf("%d places open", len(at.open))
			}
		}
	})
}
