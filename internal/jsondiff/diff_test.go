package jsondiff

import (
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/weirproxy/weir/internal/jsonpointer"
)

func ignore(t testing.TB, pointers ...string) jsonpointer.Set {
	t.Helper()
	set, err := jsonpointer.Parse(pointers, false)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestCompare(t *testing.T) {
	for _, c := range []struct{ a, b, ignore, want string }{
		{`{"a":1,"b":[true,null,"x"]}`, `{"b":[true,null,"\u0078"],"a":1.0}`, "", ""},
		{`{"a":1}`, `{"a":2}`, "", "/a value number number"},
		{`{"a":1}`, `{"a":"1"}`, "", "/a type number string"},
		{`{"a":1}`, `{}`, "", "/a missing number nothing"},
		{`{}`, `{"a":{}}`, "", "/a extra nothing object"},
		{`{"a":null}`, `{}`, "", "/a missing null nothing"},
		{`[1,2,3]`, `[1,2]`, "", " length array of 3 array of 2"},
		{`[1,2]`, `[2,1]`, "", "/* value number number, /* value number number"},
		{`{"items":[{"id":1,"n":1}]}`, `{"items":[{"id":2,"n":1}]}`, "/items/*/id", ""},
		{`{"items":[{"id":1,"n":1}]}`, `{"items":[{"id":2,"n":2}]}`, "/items/*/id", "/items/*/n value number number"},
		{`{"t":1}`, `{}`, "/t", ""},
		{`{}`, `{"t":1}`, "/t", ""},
		{`{"a":{"t":1}}`, `{"a":{"t":2}}`, "/**/t", ""},
		{`{"a/b":1}`, `{"a/b":2}`, "", "/a~1b value number number"},
		{`{"a/b":1}`, `{"a/b":2}`, "/a~1b", ""},
		{`1`, `"1"`, "", " type number string"},
		{`true`, `false`, "", " value boolean boolean"},
		{`9007199254740993`, `9007199254740992`, "", " value number number"},
	} {
		found, err := Compare([]byte(c.a), []byte(c.b), ignore(t, strings.Fields(c.ignore)...))
		var got []string
		for _, d := range found {
			got = append(got, fmt.Sprintf("%s %s %s %s", d.Path, d.Kind, d.First, d.Second))
		}
		if strings.Join(got, ", ") != c.want || err != nil {
			t.Errorf("%s and %s without %s: %q, %v; want %q", c.a, c.b, c.ignore, got, err, c.want)
		}
	}
}

func TestPlacesOfDifferences(t *testing.T) {
	found, err := Compare([]byte(`{"a":[0,{"k":1}]}`), []byte(`{"a":[0,{"k":2}]}`), jsonpointer.Set{})
	if err != nil || len(found) != 1 || found[0].At != "/a/1/k" || found[0].Path != "/a/*/k" {
		t.Errorf("%+v, %v", found, err)
	}
	long := strings.Repeat("k", 1000)
	found, err = Compare([]byte(`{"`+long+`":1}`), []byte(`{}`), jsonpointer.Set{})
	if err != nil || len(found) != 1 || len(found[0].Path) != MaxPath+3 {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestRefusals(t *testing.T) {
	for text, want := range map[string]string{
		"":              "EOF",
		"{":             "EOF",
		"1 2":           "something follows",
		"\"\xff\"":      "not UTF-8",
		`{"a":1,"a":2}`: "twice",
		"<html>":        "invalid character",
		strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1): "nested deeper",
		"[" + strings.Repeat("1,", MaxValues) + "1]":                      "more than 10000 values",
	} {
		for _, pair := range [][2]string{{text, "1"}, {"1", text}} {
			if found, err := Compare([]byte(pair[0]), []byte(pair[1]), jsonpointer.Set{}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%.20q: %v %v, want %q", text, found, err, want)
			}
		}
	}
}

func TestDifferencesAreBounded(t *testing.T) {
	var a, b strings.Builder
	for i := range 200 {
		fmt.Fprintf(&a, `,"k%d":1`, i)
		fmt.Fprintf(&b, `,"k%d":2`, i)
	}
	found, err := Compare([]byte("{"+a.String()[1:]+"}"), []byte("{"+b.String()[1:]+"}"), jsonpointer.Set{})
	if err != nil || len(found) != MaxDifferences {
		t.Errorf("%d differences, %v", len(found), err)
	}
}

func TestNumbers(t *testing.T) {
	for _, equal := range [][]string{
		{"1", "1.0", "1e0", "10e-1", "0.1e1", "1E+0"},
		{"0", "-0", "0.0", "0e5", "-0e99999999999"},
		{"-1200", "-1.2e3", "-12e2"},
		{"1e400", "10e399"},
		{"0.001", "1e-3"},
	} {
		for _, n := range equal {
			if got, want := canonicalNumber(n), canonicalNumber(equal[0]); got != want {
				t.Errorf("%s is %s, %s is %s", n, got, equal[0], want)
			}
		}
	}
	if canonicalNumber("1") == canonicalNumber("-1") || canonicalNumber("1e99999999999") == canonicalNumber("2e99999999999") {
		t.Error("different numbers have one text")
	}
}

// FuzzNumbers: what big.Rat thinks equal is equal, and nothing else.
func FuzzNumbers(f *testing.F) {
	f.Add("1.50e1", "15")
	f.Add("-0", "0.000")
	f.Fuzz(func(t *testing.T, a, b string) {
		if len(a) > 20 || len(b) > 20 {
			return
		}
		va, errA := parse([]byte(a))
		vb, errB := parse([]byte(b))
		if errA != nil || errB != nil || va.kind != number || vb.kind != number || tooLarge(a) || tooLarge(b) {
			return
		}
		ra, okA := new(big.Rat).SetString(strings.TrimSpace(a))
		rb, okB := new(big.Rat).SetString(strings.TrimSpace(b))
		if okA && okB && (ra.Cmp(rb) == 0) != (va.text == vb.text) {
			t.Errorf("%s is %s, %s is %s", a, va.text, b, vb.text)
		}
	})
}

// tooLarge: for big.Rat, which writes all the zeros.
func tooLarge(n string) bool {
	at := strings.IndexAny(n, "eE")
	return at >= 0 && len(strings.Trim(n[at+1:], "+-0 ")) > 3
}

// FuzzCompare: a text equals itself, differences are symmetric, and show
// nothing of the values.
func FuzzCompare(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":null}],"c":"x"}`), []byte(`{"a":[1],"c":1e5}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		set := ignore(t, "/**/t", "/items/*/id")
		if same, err := Compare(a, a, set); err == nil && len(same) > 0 {
			t.Fatalf("%q differs from itself: %+v", a, same)
		}
		one, errOne := Compare(a, b, set)
		other, errOther := Compare(b, a, set)
		if (errOne == nil) != (errOther == nil) || len(one) != len(other) {
			t.Fatalf("%q and %q: %v %v, the other way round %v %v", a, b, one, errOne, other, errOther)
		}
	})
}
