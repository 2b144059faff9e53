package cache

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/weirproxy/weir/filters/cache/rule"
	"github.com/weirproxy/weir/filters/cache/store"
)

// diskTier is the disk as the cache uses it: what is stored in memory is written
// behind the back of the requests, and read when memory has it no more.
type diskTier struct {
	files *store.Disk
	lost  func()

	mu      sync.Mutex
	queue   []queued
	waiting int64         // bytes in queue
	wake    chan struct{} // has room for one

	scanning sync.Mutex
	scanned  bool
}

type queued struct {
	object *object
	since  uint64
}

// maxQueued bounds the bytes that wait to be written.
const maxQueued = 16 << 20

func newDiskTier(files *store.Disk, lost func()) *diskTier {
	return &diskTier{files: files, lost: lost, wake: make(chan struct{}, 1)}
}

func (d *diskTier) has(key store.Key) bool          { return d.files.Has(key) }
func (d *diskTier) delete(key store.Key)            { d.files.Delete(key) }
func (d *diskTier) purge(p store.Purge) []store.Key { return d.files.Purge(p) }

// enqueue has an object written soon. When the disk does not keep up, it is not
// written at all.
func (d *diskTier) enqueue(o *object, since uint64) {
	size := int64(o.Weight())
	d.mu.Lock()
	full := d.waiting+size > maxQueued
	if !full {
		d.queue = append(d.queue, queued{o, since})
		d.waiting += size
	}
	d.mu.Unlock()
	if full {
		d.lost()
		return
	}
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run takes in what is on the disk already, once, and then writes what is
// queued. Each generation of the route has its own run; two at a time share the
// queue.
func (d *diskTier) run(ctx context.Context, log *store.Log) {
	d.scan(ctx, log)
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		}
		for ctx.Err() == nil {
			q, ok := d.next()
			if !ok {
				break
			}
			d.write(q, log)
		}
	}
}

// scan takes in what is on the disk, once: a generation that ends within it
// leaves it to the next. What was purged since the start stays gone.
func (d *diskTier) scan(ctx context.Context, log *store.Log) {
	d.scanning.Lock()
	defer d.scanning.Unlock()
	if d.scanned {
		return
	}
	d.scanned = d.files.Scan(ctx, func(labels []string) bool {
		o := object{labels: labels}
		return len(labels) == 0 || labels[0] == "" || log.Since(0, o.url(), o.tags(), false)
	})
}

func (d *diskTier) next() (queued, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) == 0 {
		return queued{}, false
	}
	q := d.queue[0]
	d.queue = d.queue[1:]
	d.waiting -= int64(q.object.Weight())
	return q, true
}

func (d *diskTier) write(q queued, log *store.Log) {
	o := q.object
	if log.Since(q.since, o.url(), o.tags(), false) {
		return
	}
	if err := d.files.Put(o.key, o.labels, encode(o)); err != nil {
		d.lost()
		return
	}
	if log.Since(q.since, o.url(), o.tags(), false) { // purged while it was written
		d.files.Delete(o.key)
	}
}

// get reads an object; what cannot be read is not there.
func (d *diskTier) get(key store.Key) *object {
	content, ok := d.files.Get(key)
	if !ok {
		return nil
	}
	o, ok := decode(key, content)
	if !ok {
		d.files.Delete(key)
		return nil
	}
	return o
}

// onDisk is an object as it is written, in front of the content: its length,
// then this as JSON, then the content.
type onDisk struct {
	Kind     kind
	Status   int
	Fields   [][2][]byte // any bytes, which text in JSON cannot be
	Terms    rule.Terms
	Received time.Time
	Names    []string
	Members  []store.Key
	Labels   [][]byte
}

func encode(o *object) []byte {
	head := onDisk{
		Kind: o.kind, Status: o.status, Terms: o.terms, Received: o.received, Names: o.names, Members: o.members,
	}
	for _, label := range o.labels {
		head.Labels = append(head.Labels, []byte(label))
	}
	for _, f := range o.header.Fields() {
		head.Fields = append(head.Fields, [2][]byte{[]byte(f.Name), []byte(f.Value)})
	}
	text, err := json.Marshal(head)
	if err != nil { // there is nothing in it that JSON cannot hold
		return nil
	}
	out := make([]byte, 0, 4+len(text)+len(o.body))
	out = append(out, byte(len(text)>>24), byte(len(text)>>16), byte(len(text)>>8), byte(len(text)))
	return append(append(out, text...), o.body...)
}

func decode(key store.Key, content []byte) (*object, bool) {
	if len(content) < 4 {
		return nil, false
	}
	n := int(content[0])<<24 | int(content[1])<<16 | int(content[2])<<8 | int(content[3])
	content = content[4:]
	if n > len(content) {
		return nil, false
	}
	var head onDisk
	if err := json.Unmarshal(content[:n], &head); err != nil || head.Kind > variants || len(head.Labels) == 0 {
		return nil, false
	}
	o := &object{
		key: key, kind: head.Kind, status: head.Status, body: content[n:], terms: head.Terms,
		received: head.Received, names: head.Names, members: head.Members,
	}
	for _, label := range head.Labels {
		if len(label) == 0 {
			return nil, false
		}
		o.labels = append(o.labels, string(label))
	}
	o.header.Grow(len(head.Fields))
	for _, f := range head.Fields {
		o.header.Add(string(f[0]), string(f[1]))
	}
	return o, true
}
