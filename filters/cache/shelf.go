package cache

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/filters/cache/rule"
	"github.com/weirproxy/weir/filters/cache/store"
	"github.com/weirproxy/weir/stream"
)

// shelf is what outlives generations: what is stored, and what is on its way.
type shelf struct {
	memory *store.Memory[*object]
	disk   *diskTier // nil: there is none
	log    store.Log
	table  table
	budget budget
	guard  guard

	background atomic.Int64
	records    sync.Mutex // one writer of variants at a time
}

// Close forgets what is in memory: no route asks for it any more.
func (sh *shelf) Close() error { return sh.memory.Close() }

// get finds an object in memory or, failing that, on the disk.
func (sh *shelf) get(key store.Key) *object {
	if o, ok := sh.memory.Get(key); ok {
		return o
	}
	if sh.disk == nil {
		return nil
	}
	then := sh.log.Now()
	o := sh.disk.get(key)
	if o == nil {
		return nil
	}
	sh.memory.Put(o)
	if sh.log.Since(then, o.url(), o.tags(), false) {
		sh.forget(key)
		return nil
	}
	return o
}

// find is the response under a primary key for a request with that header, and
// the key that it has, or would have.
func (sh *shelf) find(primary store.Key, h *stream.Header) (*object, store.Key, bool) {
	o := sh.get(primary)
	if o == nil || o.kind == stored {
		return o, primary, false
	}
	at := variant(primary, o.names, h)
	if o = sh.get(at); o != nil && o.kind != stored {
		o = nil
	}
	return o, at, true
}

// record is the list of variants of a primary key; nil: its response does not
// vary, or there is none.
func (sh *shelf) record(primary store.Key) *object {
	if o := sh.get(primary); o != nil && o.kind == variants {
		return o
	}
	return nil
}

// room tells whether one more variant of that key may be stored. Places of
// variants that were evicted are free.
func (sh *shelf) room(record *object, at store.Key, most int) bool {
	if record == nil || len(record.members) < most {
		return true
	}
	living := 0
	for _, key := range record.members {
		if key == at {
			return true
		}
		if sh.memory.Has(key) || sh.disk != nil && sh.disk.has(key) {
			living++
		}
	}
	return living < most
}

// put stores a response that was asked for when the log stood at since; false
// when it was purged on its way.
func (sh *shelf) put(primary store.Key, o *object, names []string, since uint64) bool {
	var record *object
	if len(names) > 0 {
		record = sh.enlist(primary, o, names)
	}
	sh.memory.Put(o)
	if sh.log.Since(since, o.url(), o.tags(), false) {
		sh.forget(o.key)
		return false
	}
	if sh.disk != nil {
		sh.disk.enqueue(o, since)
		if record != nil {
			sh.disk.enqueue(record, since)
		}
	}
	return true
}

// enlist writes a variant into the list of its primary key.
func (sh *shelf) enlist(primary store.Key, o *object, names []string) *object {
	sh.records.Lock()
	defer sh.records.Unlock()
	record := &object{key: primary, kind: variants, names: names, labels: o.labels[:1]}
	if old := sh.record(primary); old != nil {
		if !sameNames(old.names, names) { // nothing will look for those any more
			for _, key := range old.members {
				sh.forget(key)
			}
		} else {
			for _, key := range old.members {
				if key == o.key {
					return nil // it is there already
				}
				if sh.memory.Has(key) || sh.disk != nil && sh.disk.has(key) {
					record.members = append(record.members, key)
				}
			}
		}
	}
	record.members = append(record.members, o.key)
	sh.memory.Put(record)
	return record
}

func sameNames(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// forget removes what lies under a key.
func (sh *shelf) forget(key store.Key) {
	sh.memory.Delete(key)
	if sh.disk != nil {
		sh.disk.delete(key)
	}
}

// purge forgets what p is about and returns how many responses that were.
func (sh *shelf) purge(p store.Purge) int {
	sh.log.Add(p)
	gone := map[store.Key]bool{}
	for _, o := range sh.memory.Purge(p) {
		if o.kind == stored {
			gone[o.key] = true
		}
	}
	if sh.disk != nil {
		for _, key := range sh.disk.purge(p) {
			gone[key] = true
		}
	}
	return len(gone)
}

// changed forgets a URL that a request may have changed (RFC 9111 section 4.4).
// Most such URLs have nothing stored; they cost nothing more.
func (sh *shelf) changed(url string) int {
	if !sh.table.fetching(url) && !sh.memory.Labelled(store.URLLabel(url)) && (sh.disk == nil || !sh.disk.files.Labelled(store.URLLabel(url))) {
		return 0
	}
	return sh.purge(store.Purge{URL: url})
}

// markFor is how long it is remembered that a response is not to be stored, so
// that nobody waits for the next one.
const markFor = 30 * time.Second

// mark remembers that the response of a flight was not to be stored.
func (sh *shelf) mark(f *flight, why rule.Refusal, now time.Time) {
	if why.OfResponse() {
		sh.memory.Put(&object{key: f.key, kind: marker, labels: []string{store.URLLabel(f.url)}, until: now.Add(markFor)})
	}
}

// marked tells whether it is remembered.
func (sh *shelf) marked(key store.Key, now time.Time) bool {
	o, ok := sh.memory.Get(key)
	return ok && o.kind == marker && now.Before(o.until)
}

// takeBackground takes a place among what is fetched without a client.
func (sh *shelf) takeBackground(most int64) bool {
	if sh.background.Add(1) > most {
		sh.background.Add(-1)
		return false
	}
	return true
}

// lastPurge is where the number of the last purge that was heard of is kept,
// beside the files that it counts for.
const lastPurge = "last-purge"

// remember keeps the number of the last purge.
func (sh *shelf) remember(number int64) {
	if sh.disk != nil {
		if err := sh.disk.files.Note(lastPurge, strconv.FormatInt(number, 10)); err != nil {
			sh.disk.lost()
		}
	}
}

// recall is the number that an earlier process kept. With a disk that has no
// number, nobody knows what is missing: -1 is no number.
func (sh *shelf) recall() (number int64, known bool) {
	if sh.disk == nil {
		return 0, false
	}
	number, err := strconv.ParseInt(sh.disk.files.Noted(lastPurge), 10, 64)
	if err != nil {
		return -1, true
	}
	return number, true
}
