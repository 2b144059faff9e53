package route

import "slices"

// ties are the routes of one host that their condition on the path does not
// tell apart, the first to win first. Find goes over them one by one.
type ties struct {
	by     *edit
	routes []*indexed
}

func (t *ties) own(e *edit) *ties {
	if t == nil {
		first := new(struct {
			ties
			room [1]*indexed // beside the rest: most ties are one route, and a search waits for memory
		})
		first.by, first.routes = e, first.room[:0]
		return &first.ties
	}
	if t.by == e {
		return t
	}
	routes := make([]*indexed, len(t.routes), len(t.routes)+1)
	copy(routes, t.routes)
	return &ties{by: e, routes: routes}
}

func (t *ties) with(e *edit, r *indexed) *ties {
	t = t.own(e)
	i, _ := slices.BinarySearchFunc(t.routes, r, inOrder)
	t.routes = slices.Insert(t.routes, i, r)
	return t
}

// without returns nil when no route is left.
func (t *ties) without(e *edit, r *indexed) *ties {
	i, found := slices.BinarySearchFunc(t.list(), r, inOrder)
	if !found {
		return t
	}
	if len(t.routes) == 1 {
		return nil
	}
	t = t.own(e)
	t.routes = slices.Delete(t.routes, i, i+1)
	return t
}

func (t *ties) list() []*indexed {
	if t == nil {
		return nil
	}
	return t.routes
}
