package jsonpointer

import "strings"

// Cursor is a value of a text as a set sees it: how far each pointer leads
// there. The zero Cursor is at no place, and nor is anything below it.
type Cursor struct {
	open []place
	fold bool
	hit  bool
}

// place is a pointer of which the first steps lead to the value.
type place struct{ rest []step }

// Root is the cursor of the whole text.
func (s Set) Root() Cursor {
	c := Cursor{fold: s.fold}
	for _, steps := range s.pointers {
		c.enter(steps)
	}
	return c
}

// Hit tells whether the value is one that the set names.
func (c Cursor) Hit() bool { return c.hit }

// Idle tells whether the set names nothing below the value.
func (c Cursor) Idle() bool { return len(c.open) == 0 }

// Down is the cursor of the member with that key, or of the element with that
// number.
func (c Cursor) Down(key string) Cursor {
	below := Cursor{fold: c.fold}
	for _, p := range c.open {
		switch first := &p.rest[0]; first.kind {
		case any0:
			below.enter(p.rest)
		case any1:
			below.enter(p.rest[1:])
		default:
			if key == first.key || c.fold && strings.EqualFold(key, first.key) {
				below.enter(p.rest[1:])
			}
		}
	}
	return below
}

// enter notes what is left of a pointer. "**" may stand for no step at all.
func (c *Cursor) enter(rest []step) {
	if len(rest) == 0 {
		c.hit = true
		return
	}
	for i := range c.open {
		if len(c.open[i].rest) == len(rest) && &c.open[i].rest[0] == &rest[0] {
			return // "**" leads there in two ways
		}
	}
	c.open = append(c.open, place{rest})
	if rest[0].kind == any0 {
		c.enter(rest[1:])
	}
}
