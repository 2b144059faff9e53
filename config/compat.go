package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// Incompatible lists why a document that the old schema takes may be refused by
// the new one: a field that is gone, a type or a bound that became narrower. It
// knows the keywords that Schema writes.
func Incompatible(old, new []byte) ([]string, error) {
	var a, b map[string]any
	if err := json.Unmarshal(old, &a); err != nil {
		return nil, fmt.Errorf("config: the old schema: %w", err)
	}
	if err := json.Unmarshal(new, &b); err != nil {
		return nil, fmt.Errorf("config: the new schema: %w", err)
	}
	var c comparison
	c.schemas("", a, b)
	return c.reasons, nil
}

type comparison struct{ reasons []string }

func (c *comparison) say(path, format string, args ...any) {
	c.reasons = append(c.reasons, path+": "+fmt.Sprintf(format, args...))
}

func (c *comparison) schemas(path string, old, new map[string]any) {
	for _, keyword := range slices.Sorted(maps.Keys(old)) {
		c.keyword(path, keyword, old[keyword], new[keyword])
	}
	for _, keyword := range slices.Sorted(maps.Keys(new)) {
		if _, known := old[keyword]; !known && narrows(keyword) {
			c.say(path, "%s is new: %v", keyword, new[keyword])
		}
	}
}

// narrows tells whether a schema takes less with the keyword than without.
func narrows(keyword string) bool {
	switch keyword {
	case "description", "default", "title", "$id", "$schema", "$defs", "properties", "patternProperties":
		return false
	}
	return true
}

func (c *comparison) keyword(path, keyword string, old, new any) {
	switch keyword {
	case "properties", "$defs", "patternProperties":
		c.members(path, old, new)
	case "type", "enum":
		for _, value := range asList(old) {
			if new != nil && !slices.ContainsFunc(asList(new), func(v any) bool { return reflect.DeepEqual(v, value) }) {
				c.say(path, "%s %v is gone", keyword, value)
			}
		}
	case "required":
		for _, value := range asList(new) {
			if !slices.Contains(asList(old), value) {
				c.say(path, "%v became required", value)
			}
		}
	case "minimum", "maximum":
		a, _ := old.(float64)
		if b, written := new.(float64); written && (keyword == "minimum" && b > a || keyword == "maximum" && b < a) {
			c.say(path, "%s went from %v to %v", keyword, a, b)
		}
	case "anyOf":
		a, b := asList(old), asList(new)
		if len(b) < len(a) {
			c.say(path, "there were %d forms, there are %d", len(a), len(b))
			return
		}
		for i := range a {
			c.values(fmt.Sprintf("%s|%d", path, i), a[i], b[i])
		}
	case "items", "additionalProperties":
		c.values(path+"[]", old, new)
	default:
		if narrows(keyword) && new != nil && !reflect.DeepEqual(old, new) {
			c.say(path, "%s went from %v to %v", keyword, old, new)
		}
	}
}

// members compares schemas by name.
func (c *comparison) members(path string, old, new any) {
	a, _ := old.(map[string]any)
	b, _ := new.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if _, there := b[name]; !there {
			c.say(path+"."+name, "is gone")
			continue
		}
		c.values(path+"."+name, a[name], b[name])
	}
}

func (c *comparison) values(path string, old, new any) {
	a, both := old.(map[string]any)
	b, ok := new.(map[string]any)
	if both && ok {
		c.schemas(path, a, b)
		return
	}
	if !reflect.DeepEqual(old, new) {
		c.say(path, "went from %v to %v", old, new)
	}
}

func asList(v any) []any {
	if many, ok := v.([]any); ok {
		return many
	}
	if v == nil {
		return nil
	}
	return []any{v}
}
