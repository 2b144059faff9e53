package stream

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestLookup(t *testing.T) {
	seen := map[string]ID{}
	for id := Unknown + 1; id < numIDs; id++ {
		name := id.String()
		if name == "" {
			t.Fatalf("ID %d has no spelling in names", id)
		}
		if other, taken := seen[strings.ToLower(name)]; taken {
			t.Errorf("%d and %d are both %q", other, id, name)
		}
		seen[strings.ToLower(name)] = id
		for _, spelling := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			if got := Lookup(spelling); got != id {
				t.Errorf("Lookup(%q) = %d, want %d", spelling, got, id)
			}
		}
	}
	// Names that only look like well-known ones; Owned knows the
	// underscore, the table must not.
	for _, name := range []string{"", "x", "X-Forwarded-Fo", "X_Forwarded_For", "X-Forwarded-For ", "Hos\u0167", "ho\u017ft"} {
		if id := Lookup(name); id != Unknown {
			t.Errorf("Lookup(%q) = %v, want Unknown", name, id)
		}
	}
}

// Probing is what makes Lookup slow: the table may not degrade as it grows.
func TestLookupProbes(t *testing.T) {
	for id := Unknown + 1; id < numIDs; id++ {
		probes := 1
		for at := hash(names[id]); slots[at] != id; at = (at + 1) % numSlots {
			probes++
		}
		if probes > 4 {
			t.Errorf("%s is found after %d probes", id, probes)
		}
	}
}

func TestHeader(t *testing.T) {
	var h Header
	h.Add("Host", "a")
	h.Add("X-FORWARDED-FOR", "1")
	h.Add("X-Team", "x")
	h.Add("x-forwarded-for", "2")
	h.Add("X-TEAM", "y")
	h.Add("X_Team", "z")

	for _, c := range []struct {
		name   string
		values []string
	}{
		{"host", []string{"a"}},
		{"X-Forwarded-For", []string{"1", "2"}},
		{"x-team", []string{"x", "y"}},
		{"x_team", []string{"z"}},
		{"x-other", nil},
	} {
		if got := h.Values(nil, c.name); !slices.Equal(got, c.values) || h.Count(c.name) != len(c.values) {
			t.Errorf("%s: values %q, count %d, want %q", c.name, got, h.Count(c.name), c.values)
		}
		first, ok := h.Get(c.name)
		if ok != (len(c.values) > 0) || ok && first != c.values[0] {
			t.Errorf("Get(%q) = %q, %v", c.name, first, ok)
		}
	}

	h.Set("X-Forwarded-For", "3")
	h.Set("X-New", "n")
	if got, want := text(&h), "Host: a|X-FORWARDED-FOR: 3|X-Team: x|X-TEAM: y|X_Team: z|X-New: n"; got != want {
		t.Errorf("after Set: %s, want %s", got, want)
	}
	h.SetID(XRealIP, "4")
	h.SetID(Host, "b")
	copied := h.Clone()
	if n := h.Del("x-team"); n != 2 {
		t.Errorf("Del removed %d, want 2", n)
	}
	if n := h.Del("x-forwarded-for"); n != 1 {
		t.Errorf("Del removed %d, want 1", n)
	}
	if got, want := text(&h), "Host: b|X_Team: z|X-New: n|X-Real-IP: 4"; got != want {
		t.Errorf("after Del: %s, want %s", got, want)
	}
	if copied.Len() != 7 {
		t.Errorf("the clone has %d fields, want 7", copied.Len())
	}
	h.Reset()
	if h.Len() != 0 || h.fields[:1][0] != (Field{}) {
		t.Errorf("Reset keeps %q", text(&h))
	}
}

func text(h *Header) string {
	var parts []string
	for _, f := range h.Fields() {
		parts = append(parts, f.Name+": "+f.Value)
	}
	return strings.Join(parts, "|")
}

// No field is lost or moved but those that were meant (threats.md section 1,
// "no header is dropped silently").
func TestHeaderAgainstList(t *testing.T) {
	name := rapid.SampledFrom([]string{"Host", "host", "X-A", "x-a", "X_A", "X-Forwarded-For", "x-FORWARDED-for"})
	type pair struct{ name, value string }
	rapid.Check(t, func(t *rapid.T) {
		var h Header
		var model []pair
		steps := rapid.IntRange(0, 20).Draw(t, "steps")
		for range steps {
			n, v := name.Draw(t, "name"), rapid.StringMatching("[a-z]").Draw(t, "value")
			same := func(p pair) bool { return strings.EqualFold(p.name, n) }
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				h.Add(n, v)
				model = append(model, pair{n, v})
			case 1:
				h.Del(n)
				model = slices.DeleteFunc(model, same)
			case 2:
				h.Set(n, v)
				if i := slices.IndexFunc(model, same); i >= 0 {
					model[i].value = v
					model = append(model[:i+1:i+1], slices.DeleteFunc(slices.Clone(model[i+1:]), same)...)
				} else {
					model = append(model, pair{n, v})
				}
			}
		}
		var want []string
		for _, p := range model {
			want = append(want, p.name+": "+p.value)
		}
		if got := text(&h); got != strings.Join(want, "|") {
			t.Fatalf("%s, want %q", got, want)
		}
	})
}

func TestAllocsHeader(t *testing.T) {
	var h Header
	h.Grow(16)
	if n := testing.AllocsPerRun(100, func() {
		h.Reset()
		h.Add("Host", "a")
		h.AddID(Accept, "*/*")
		h.Add("X-Team", "x")
		h.Set("X-Team", "y")
		h.SetID(Accept, "text/html")
		h.Get("x-team")
		h.Del("x-none")
		h.DelID(Accept)
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestFaultNames(t *testing.T) {
	seen := map[string]bool{}
	for k := range NumKinds {
		if name := k.String(); name == "" || seen[name] {
			t.Errorf("kind %d is named %q, which is empty or taken", k, name)
		} else {
			seen[name] = true
		}
	}
	if f := AsFault(Faultf(NoRoute, RetryNever, "x")); f.Kind != NoRoute {
		t.Errorf("AsFault of a fault has kind %v", f.Kind)
	}
	if f := AsFault(errPort); f.Kind != Internal || !errors.Is(f.Cause, errPort) {
		t.Errorf("AsFault of another error is %v", f)
	}
}

func BenchmarkLookup(b *testing.B) {
	head := []string{
		"Host", "User-Agent", "Accept", "Accept-Encoding", "Accept-Language", "Cookie",
		"X-Tenant", "Connection", "Referer", "Sec-Fetch-Mode",
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, name := range head {
			Lookup(name)
		}
	}
}
