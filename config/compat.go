package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// Incompatible lists why a document that the promised schema takes may be refused
// by the current one: a field that is gone, a type or a bound that became narrower. It
// knows the keywords that Schema writes.
func Incompatible(promised, current []byte) ([]string, error) {
	var a, b map[string]any
	if err := json.Unmarshal(promised, &a); err != nil {
		return nil, fmt.Errorf("config: the promised schema: %w", err)
	}
	if err := json.Unmarshal(current, &b); err != nil {
		return nil, fmt.Errorf("config: the current schema: %w", err)
	}
	var c comparison
	c.schemas("", a, b)
	return c.reasons, nil
}

type comparison struct{ reasons []string }

func (c *comparison) say(path, format string, args ...any) {
	c.reasons = append(c.reasons, path+": "+fmt.Sprintf(format, args...))
}

func (c *comparison) schemas(path string, was, now map[string]any) {
	for _, keyword := range slices.Sorted(maps.Keys(was)) {
		c.keyword(path, keyword, was[keyword], now[keyword])
	}
	for _, keyword := range slices.Sorted(maps.Keys(now)) {
		if _, known := was[keyword]; !known && narrows(keyword) {
			c.say(path, "%s is new: %v", keyword, now[keyword])
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

func (c *comparison) keyword(path, keyword string, was, now any) {
	switch keyword {
	case "properties", "$defs", "patternProperties":
		c.members(path, was, now)
	case "type", "enum":
		for _, value := range asList(was) {
			if now != nil && !slices.ContainsFunc(asList(now), func(v any) bool { return reflect.DeepEqual(v, value) }) {
				c.say(path, "%s %v is gone", keyword, value)
			}
		}
	case "required":
		for _, value := range asList(now) {
			if !slices.Contains(asList(was), value) {
				c.say(path, "%v became required", value)
			}
		}
	case "minimum", "maximum":
		a, _ := was.(float64)
		if b, written := now.(float64); written && (keyword == "minimum" && b > a || keyword == "maximum" && b < a) {
			c.say(path, "%s went from %v to %v", keyword, a, b)
		}
	case "anyOf":
		a, b := asList(was), asList(now)
		if len(b) < len(a) {
			c.say(path, "there were %d forms, there are %d", len(a), len(b))
			return
		}
		for i := range a {
			c.values(fmt.Sprintf("%s|%d", path, i), a[i], b[i])
		}
	case "items", "additionalProperties":
		c.values(path+"[]", was, now)
	default:
		if narrows(keyword) && now != nil && !reflect.DeepEqual(was, now) {
			c.say(path, "%s went from %v to %v", keyword, was, now)
		}
	}
}

// members compares schemas by name.
func (c *comparison) members(path string, was, now any) {
	a, _ := was.(map[string]any)
	b, _ := now.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if _, there := b[name]; !there {
			c.say(path+"."+name, "is gone")
			continue
		}
		c.values(path+"."+name, a[name], b[name])
	}
}

func (c *comparison) values(path string, was, now any) {
	a, both := was.(map[string]any)
	b, ok := now.(map[string]any)
	if both && ok {
		c.schemas(path, a, b)
		return
	}
	if !reflect.DeepEqual(was, now) {
		c.say(path, "went from %v to %v", was, now)
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
