package http2

import "github.com/weirproxy/weir/stream"

// entry is one field of a table, judged once: a request that repeats the fields
// of the one before costs no look at their bytes.
type entry struct {
	name, value string
	id          stream.ID
	pseudo      pseudo
	sound       bool // name and value keep the grammar
}

// pseudo is which pseudo-header field a field is.
type pseudo uint8

const (
	notPseudo pseudo = iota
	pseudoMethod
	pseudoScheme
	pseudoAuthority
	pseudoPath
	pseudoProtocol // RFC 8441
	pseudoStatus
	pseudoUnknown // any other name with a colon in front
)

func pseudoOf(name string) pseudo {
	if name == "" || name[0] != ':' {
		return notPseudo
	}
	switch name {
	case ":method":
		return pseudoMethod
	case ":scheme":
		return pseudoScheme
	case ":authority":
		return pseudoAuthority
	case ":path":
		return pseudoPath
	case ":protocol":
		return pseudoProtocol
	case ":status":
		return pseudoStatus
	}
	return pseudoUnknown
}

// judge fills in what follows from the name; sound for the value too.
func (e *entry) judge() {
	if e.pseudo = pseudoOf(e.name); e.pseudo != notPseudo {
		e.sound = validValue(e.value)
		return
	}
	e.id = stream.Lookup(e.name)
	e.sound = validName(e.name) && validValue(e.value)
}

// staticTable is RFC 7541 appendix A; index 0 is not used.
var staticTable = func() (t [staticSize + 1]entry) {
	for i, f := range staticFields {
		t[i+1] = entry{name: f[0], value: f[1]}
		t[i+1].judge()
	}
	return t
}()

const staticSize = 61

var staticFields = [staticSize][2]string{
	{":authority", ""},
	{":method", "GET"},
	{":method", "POST"},
	{":path", "/"},
	{":path", "/index.html"},
	{":scheme", "http"},
	{":scheme", "https"},
	{":status", "200"},
	{":status", "204"},
	{":status", "206"},
	{":status", "304"},
	{":status", "400"},
	{":status", "404"},
	{":status", "500"},
	{"accept-charset", ""},
	{"accept-encoding", "gzip, deflate"},
	{"accept-language", ""},
	{"accept-ranges", ""},
	{"accept", ""},
	{"access-control-allow-origin", ""},
	{"age", ""},
	{"allow", ""},
	{"authorization", ""},
	{"cache-control", ""},
	{"content-disposition", ""},
	{"content-encoding", ""},
	{"content-language", ""},
	{"content-length", ""},
	{"content-location", ""},
	{"content-range", ""},
	{"content-type", ""},
	{"cookie", ""},
	{"date", ""},
	{"etag", ""},
	{"expect", ""},
	{"expires", ""},
	{"from", ""},
	{"host", ""},
	{"if-match", ""},
	{"if-modified-since", ""},
	{"if-none-match", ""},
	{"if-range", ""},
	{"if-unmodified-since", ""},
	{"last-modified", ""},
	{"link", ""},
	{"location", ""},
	{"max-forwards", ""},
	{"proxy-authenticate", ""},
	{"proxy-authorization", ""},
	{"range", ""},
	{"referer", ""},
	{"refresh", ""},
	{"retry-after", ""},
	{"server", ""},
	{"set-cookie", ""},
	{"strict-transport-security", ""},
	{"transfer-encoding", ""},
	{"user-agent", ""},
	{"vary", ""},
	{"via", ""},
	{"www-authenticate", ""},
}

const (
	// tableSize is SETTINGS_HEADER_TABLE_SIZE: the value that both sides begin
	// with, which we never change.
	tableSize = 4096
	// entryExtra is what RFC 7541 section 4.1 adds to name and value.
	entryExtra = 32
	// maxEntries is how many entries of the least size fit.
)

// dynamicTable is the table that a peer builds with its fields. It is a ring
// that grows to its bound, so that a connection with few fields stays small.
type dynamicTable struct {
	ring  []entry // a power of two long
	first int     // of the oldest
	count int
	size  int // as RFC 7541 counts
	limit int
}

// at is entry i, the newest being 1.
func (t *dynamicTable) at(i int) (*entry, bool) {
	if i < 1 || i > t.count {
		return nil, false
	}
	return &t.ring[(t.first+t.count-i)&(len(t.ring)-1)], true
}

func (t *dynamicTable) add(e entry) {
	need := len(e.name) + len(e.value) + entryExtra
	t.shrink(t.limit - need)
	if need > t.limit {
		return
	}
	if t.count == len(t.ring) {
		t.grow()
	}
	t.ring[(t.first+t.count)&(len(t.ring)-1)] = e
	t.count++
	t.size += need
}

func (t *dynamicTable) grow() {
	grown := make([]entry, max(8, 2*len(t.ring)))
	for i := range t.count {
		grown[i] = t.ring[(t.first+i)&(len(t.ring)-1)]
	}
	t.ring, t.first = grown, 0
}

// shrink drops the oldest entries until no more than size is left.
func (t *dynamicTable) shrink(size int) {
	for t.count > 0 && t.size > size {
		e := &t.ring[t.first]
		t.size -= len(e.name) + len(e.value) + entryExtra
		*e = entry{}
		t.first = (t.first + 1) & (len(t.ring) - 1)
		t.count--
	}
}

func (t *dynamicTable) setLimit(n int) {
	t.limit = n
	t.shrink(n)
}
