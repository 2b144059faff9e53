package statusset

import "testing"

func TestSet(t *testing.T) {
	set, err := Parse([]string{"5xx", "404", "1xx"})
	if err != nil {
		t.Fatal(err)
	}
	for code := -1; code < 1000; code++ {
		want := code >= 500 && code < 600 || code == 404 || code >= 100 && code < 200
		if set.Has(code) != want {
			t.Errorf("Has(%d) = %v", code, !want)
		}
	}
}

func TestInvalid(t *testing.T) {
	for _, bad := range []string{"", "6xx", "0xx", "600", "99", "099", "+404", "+40", "1-1", "40", "4x4", "4XX", "4x", "x", "ok", "4_4", "2xx "} {
		if Valid(bad) {
			t.Errorf("%q is valid", bad)
		}
		if _, err := Parse([]string{"200", bad}); err == nil {
			t.Errorf("Parse accepts %q", bad)
		}
	}
	if !Valid("404") || !Valid("5xx") {
		t.Error("404 and 5xx are not valid")
	}
}
