package record

import (
	"strings"
	"sync"

	"github.com/weirproxy/weir/stream"
)

// Handles with a meaning of their own. The zero stream.Label is none.
const (
	none  uint32 = iota // no route was taken, no cluster asked
	other               // folded: over the budget, or removed from the document
	firstOwn
)

const (
	noneName  = "none"
	otherName = "other"
)

// names gives handles to the names of one label. A handle is never used again
// for another name: requests of an old generation may still carry it.
//
// A name takes one of the budget's places when it first carries traffic, so
// that idle names do not push busy ones into "other".
type names struct {
	mu     sync.Mutex
	budget int // of names
	byName map[string]uint32
	list   []name // by handle
	places int    // admitted and not retired
}

type name struct {
	text  string
	state uint8
}

// What became of a name.
const (
	idle     uint8 = iota // no traffic yet
	admitted              // has its own series
	folded                // counts under "other", for good
)

func newNames(maxSeries int) *names {
	return &names{
		budget: budget(maxSeries),
		byName: map[string]uint32{noneName: none, otherName: other},
		list:   []name{{noneName, admitted}, {otherName, admitted}},
	}
}

// label is the name with its handle; the same name has the same handle.
func (n *names) label(text string) stream.Label {
	if text == "" {
		return stream.Label{}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	handle, ok := n.byName[text]
	if !ok {
		handle = uint32(len(n.list))
		n.list = append(n.list, name{text: strings.ToValidUTF8(text, "\ufffd")})
		n.byName[text] = handle
	}
	return stream.Label{Name: text, Handle: handle}
}

// admit says under which handle the traffic of handle counts. known is false
// for a handle that was never given out.
func (n *names) admit(handle uint32) (counts uint32, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if int(handle) >= len(n.list) {
		return other, false
	}
	entry := &n.list[handle]
	if entry.state == idle {
		entry.state = folded
		if n.places < n.budget {
			entry.state = admitted
			n.places++
		}
	}
	if entry.state == folded {
		return other, true
	}
	return handle, true
}

// retain folds every name that is not in keep and returns the handles among
// them that had series of their own.
func (n *names) retain(keep []string) []uint32 {
	kept := map[string]bool{noneName: true, otherName: true}
	for _, text := range keep {
		kept[text] = true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	var gone []uint32
	for text, handle := range n.byName {
		if kept[text] {
			continue
		}
		delete(n.byName, text)
		entry := &n.list[handle]
		if entry.state == admitted {
			gone = append(gone, handle)
			n.places--
		}
		*entry = name{state: folded}
	}
	return gone
}

// budget is how many names a label may have: the widest family has a series
// per name and class of status.
func budget(maxSeries int) int { return max(1, maxSeries/len(classes)-int(firstOwn)) }

// setBudget bounds the names admitted from now on.
func (n *names) setBudget(maxSeries int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.budget = budget(maxSeries)
}

// own lists the names with series of their own, by handle; others are "".
func (n *names) own() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := make([]string, len(n.list))
	for handle, entry := range n.list {
		if entry.state == admitted {
			list[handle] = entry.text
		}
	}
	return list
}
