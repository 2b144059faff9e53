package redact

import "strings"

// conditions hides the values in words about a condition of a route, as an
// explanation has them: `header x-api-key does not equal "secret"`.
func (p *Policy) conditions(s string) string {
	for _, source := range []struct {
		word   string
		hidden func(name string) bool
	}{
		{"header ", p.Header},
		{"query parameter ", p.QueryKey},
		{"cookie ", func(string) bool { return true }},
	} {
		at := strings.Index(s, source.word)
		if at < 0 {
			continue
		}
		name, rest, ok := strings.Cut(s[at+len(source.word):], " does ")
		if !ok || strings.Contains(name, " ") || !source.hidden(name) {
			continue
		}
		words := s[:len(s)-len(rest)]
		first, last := strings.IndexByte(rest, '"'), strings.LastIndexByte(rest, '"')
		if first >= 0 && last > first {
			return words + rest[:first] + Mark + rest[last+1:]
		}
	}
	return s
}
