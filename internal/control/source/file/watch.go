package file

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Times of the watch.
const (
	quiet   = 100 * time.Millisecond // without an event: the change is complete
	longest = 2 * time.Second        // from the first event, however many follow
	poll    = 3 * time.Second        // between looks at what the system may not tell
)

// Watcher calls a function when the content of files changed: documents, and
// what they refer to. It is told by the system of events in their directories,
// and looks by itself every few seconds, for what no event tells: a path that
// did not exist, a network file system, a symlink two levels away.
type Watcher struct {
	paths   []string
	also    func() []string // files that the documents refer to; changes with them
	changed func()

	events *fsnotify.Watcher // nil when the system has none to give
	names  map[string]bool   // last elements of the paths to watch, and of where symlinks lead
	known  state             // at the last call of changed, or at the start
}

// NewWatcher notes the content of the files. From now on no change is missed;
// changed is called by Run only.
func NewWatcher(paths []string, also func() []string, changed func()) *Watcher {
	w := &Watcher{paths: paths, also: also, changed: changed}
	// Without events (inotify limits of the machine) polling still finds all changes.
	w.events, _ = fsnotify.NewWatcher()
	w.subscribe()
	w.known = look(w.paths, w.also())
	return w
}

// Run calls changed after each change, once a burst of events is over and if
// the content is another one. It ends with ctx.
func (w *Watcher) Run(ctx context.Context) {
	var told <-chan fsnotify.Event
	var failed <-chan error
	if w.events != nil {
		defer func() { _ = w.events.Close() }()
		told, failed = w.events.Events, w.events.Errors
	}
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	var burst burst
	due := time.NewTimer(time.Hour)
	due.Stop()
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case event, open := <-told:
			if !open {
				told = nil
			} else if w.concerns(event.Name) {
				due.Reset(burst.event(time.Now()))
			}
		case _, open := <-failed: // an overflow: events were lost
			if !open {
				failed = nil
				continue
			}
			due.Reset(burst.event(time.Now()))
		case <-ticker.C:
			w.subscribe()
			if glance(w.paths, w.also()) != w.known.glance {
				due.Reset(burst.event(time.Now()))
			}
		case <-due.C:
			burst.end()
			w.compare()
		}
	}
}

// compare calls changed if the content is another one. When the new documents
// refer to other files, the next look finds these and calls once more: better
// than to miss that such a file changed just now.
func (w *Watcher) compare() {
	w.subscribe()
	now := look(w.paths, w.also())
	different := now.content != w.known.content
	w.known = now
	if different {
		w.changed()
	}
}

// subscribe asks for events of each directory that holds a file to watch, or a
// target of a symlink on the way to it, and of no other. What cannot be watched
// (it does not exist yet) is asked for again with the next look.
func (w *Watcher) subscribe() {
	names, wanted := surroundings(w.paths, w.also())
	w.names = names
	if w.events == nil {
		return
	}
	for _, dir := range w.events.WatchList() {
		if !wanted[dir] {
			_ = w.events.Remove(dir) // an error means that it is gone already
		}
		delete(wanted, dir)
	}
	for dir := range wanted {
		_ = w.events.Add(dir) // an error leaves it to polling
	}
}

// concerns leaves out what other programs do in the same directories: a log
// that grows beside a document is no reason to look.
func (w *Watcher) concerns(name string) bool {
	base := filepath.Base(name)
	return w.names[base] || isDocument(base) || strings.HasPrefix(base, "..") // ..data of Kubernetes
}

// burst is a row of events with little time between them. It has no clock.
type burst struct {
	first time.Time // zero: none is under way
}

// event notes one at now and returns how long to wait for the next.
func (b *burst) event(now time.Time) time.Duration {
	if b.first.IsZero() {
		b.first = now
	}
	return max(0, min(quiet, b.first.Add(longest).Sub(now)))
}

func (b *burst) end() { b.first = time.Time{} }
