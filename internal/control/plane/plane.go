// Package plane is the control plane of one process: it reads documents,
// compiles them over the last good state, and hands every new snapshot to
// whoever runs it. Loads are made one after the other, whatever asks for them:
// a change of a file, a signal, a call of the admin API.
package plane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/internal/control/compile"
	"github.com/weirproxy/weir/internal/control/source/file"
	"github.com/weirproxy/weir/internal/snapshot"
)

// Config is what a Plane is made of.
type Config struct {
	// Paths are files and directories with documents.
	Paths []string
	// Document is used instead of Paths: made of flags, for example. The files
	// that it refers to are watched all the same.
	Document *config.Document
	Filters  filter.Registry
	// Env looks up an environment variable; os.LookupEnv when nil.
	Env func(name string) (string, bool)
	// Log is told what loads do; nil: nobody.
	Log *slog.Logger
	// Now is time.Now when nil.
	Now func() time.Time
}

// Plane makes snapshots. All methods may be called from any goroutine.
type Plane struct {
	cfg   Config
	stats Stats

	// mu makes loads, and the applying of what they made, one after the other.
	mu       sync.Mutex
	current  *snapshot.Snapshot // the last that was applied; nil before Load
	tried    uint64             // the highest number given away
	partial  bool               // something of current does not run: every load tries again
	problems config.Problems    // of the last load: they are not logged twice
	apply    func(*snapshot.Snapshot) error

	// Guarded by their own lock: the watch asks while a load is under way.
	filesMu sync.Mutex
	files   []string // that the documents refer to
}

// Stats counts loads. The reader sees each value by itself.
type Stats struct {
	Number      atomic.Uint64 // of the snapshot in use
	Held        atomic.Int64  // objects that keep their last good version now
	Applied     atomic.Int64  // loads that changed what runs
	Unchanged   atomic.Int64  // loads that found the same content
	Failed      atomic.Int64  // loads with errors that changed nothing, and snapshots that could not be applied
	LastSuccess atomic.Int64  // Unix time in nanoseconds of the last load without an error; 0: none
}

// Result is what a load did.
type Result struct {
	// Snapshot is in use after the load; nil before the first good one.
	Snapshot *snapshot.Snapshot
	Problems config.Problems
	// Changed: the snapshot is a new one, and was applied.
	Changed bool
	// Err is why a good snapshot could not be applied. The last one stays.
	Err error
}

// New makes a Plane. It reads nothing yet.
func New(cfg Config) *Plane {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Env == nil {
		cfg.Env = os.LookupEnv
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Plane{cfg: cfg}
}

// FromDocument makes a Plane for a document that was made in memory.
func FromDocument(document *config.Document, cfg Config) *Plane {
	cfg.Document, cfg.Paths = document, nil
	return New(cfg)
}

// Stats are the counters.
func (p *Plane) Stats() *Stats { return &p.stats }

// Load makes the first snapshot. With any error it is nil: at the start there
// is no last good state to fall back on.
func (p *Plane) Load() (*snapshot.Snapshot, config.Problems) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, problems := p.compile(nil)
	p.problems = problems
	if s == nil {
		p.stats.Failed.Add(1)
	} else {
		p.use(s, problems)
	}
	return s, problems
}

// Reload looks at the documents again and applies what changed. Objects with
// errors keep their last good version. reason stands in the log.
func (p *Plane) Reload(reason string) Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, problems := p.compile(p.current)
	result := Result{Snapshot: p.current, Problems: problems}
	if s == nil {
		p.stats.Failed.Add(1)
		p.logResult(reason, &result)
		return result
	}
	same := p.current != nil && s.Hash == p.current.Hash
	if !same {
		s.Number = max(s.Number, p.tried+1)
		p.tried = s.Number
	}
	// The content may be the same and yet not be what runs: something else is
	// held, or something could not start the last time.
	retry := p.partial
	if !same || retry || !sameHeld(p.current, s) {
		s, result.Err = p.applyTo(s, &result.Problems)
	} else {
		s = p.current // it is what runs; of a second copy in memory nobody has anything
	}
	switch {
	case result.Err != nil:
		p.stats.Failed.Add(1)
	case !same || retry && !p.partial:
		p.stats.Applied.Add(1)
		result.Snapshot, result.Changed = s, true
	case result.Problems.Errors() > 0:
		p.stats.Failed.Add(1)
		result.Snapshot = s
	default:
		p.stats.Unchanged.Add(1)
		result.Snapshot = s
	}
	if result.Err == nil {
		p.use(s, result.Problems)
	}
	p.logResult(reason, &result)
	return result
}

func sameHeld(a, b *snapshot.Snapshot) bool {
	return slices.EqualFunc(a.Held, b.Held, func(x, y snapshot.Held) bool {
		return x.Kind == y.Kind && x.Name == y.Name && slices.Equal(x.Problems, y.Problems)
	})
}

// applyTo applies s. When parts of it cannot start the rest runs: the result is
// then s with these held, and their reasons are among the problems.
func (p *Plane) applyTo(s *snapshot.Snapshot, problems *config.Problems) (*snapshot.Snapshot, error) {
	if p.apply == nil { // Run has not begun: its first look applies it
		p.partial = true
		return s, nil
	}
	err := p.apply(s)
	var partial *snapshot.Partial
	if p.partial = errors.As(err, &partial); !p.partial {
		return s, err
	}
	more := partial.Problems()
	for i := range more {
		p.place(&more[i])
	}
	*problems = slices.Concat(*problems, more)
	return s.With(partial), nil
}

// place gives a problem of the whole, or of a document made in memory, a file.
func (p *Plane) place(problem *config.Problem) {
	if problem.Pos.File == "" {
		problem.Pos.File = strings.Join(p.cfg.Paths, ", ")
	}
}

// use makes s the last good state.
func (p *Plane) use(s *snapshot.Snapshot, problems config.Problems) {
	p.current, p.tried = s, max(p.tried, s.Number)
	p.stats.Number.Store(s.Number)
	p.stats.Held.Store(int64(len(s.Held)))
	if problems.Errors() == 0 {
		p.stats.LastSuccess.Store(p.cfg.Now().UnixNano())
	}
}

// Run watches the files and applies each change until ctx ends. From its start
// on, Reload applies too. What Load returned runs already.
func (p *Plane) Run(ctx context.Context, apply func(*snapshot.Snapshot) error) {
	p.mu.Lock()
	p.apply = apply
	p.mu.Unlock()
	watcher := file.NewWatcher(p.cfg.Paths, p.referenced, func() { p.Reload("files changed") })
	p.Reload("watch begins") // what changed since Load
	// To read and compile leaves several times what a snapshot holds. It goes now, and
	// not under the traffic that is about to come.
	debug.FreeOSMemory()
	watcher.Run(ctx)
}

// compile reads and compiles once.
func (p *Plane) compile(previous *snapshot.Snapshot) (*snapshot.Snapshot, config.Problems) {
	in := compile.Inputs{
		Files: p.readReferenced(file.Secret), Data: p.readReferenced(file.Data), Env: p.cfg.Env, Filters: p.cfg.Filters, Previous: previous, Now: p.cfg.Now(),
	}
	if p.cfg.Document != nil {
		in.Documents = []*config.Document{p.cfg.Document}
	} else if err := p.read(&in); err != nil {
		return previous, config.Problems{unreadable(err)}
	}
	p.filesMu.Lock()
	last := p.files
	p.files = nil
	p.filesMu.Unlock()
	s, problems := compile.Compile(in)
	for i := range problems {
		p.place(&problems[i])
	}
	p.filesMu.Lock()
	defer p.filesMu.Unlock()
	if problems.Errors() > 0 { // held objects refer to what they referred to before
		p.files = append(p.files, last...)
	}
	slices.Sort(p.files)
	p.files = slices.Compact(p.files)
	return s, problems
}

// read brings the documents in and decodes them.
func (p *Plane) read(in *compile.Inputs) error {
	set, err := file.Read(p.cfg.Paths)
	if err != nil {
		return err
	}
	for _, document := range set.Documents {
		parsed, problems := config.Parse(document.Name, document.Content)
		in.Problems = append(in.Problems, problems...)
		if parsed == nil {
			in.Unknown = append(in.Unknown, document.Name)
			continue
		}
		in.Documents = append(in.Documents, parsed)
	}
	for _, unread := range set.Unreadable {
		in.Problems = append(in.Problems, unreadable(unread.Err))
		in.Unknown = append(in.Unknown, unread.Name)
	}
	return nil
}

// unreadable is the problem of a document that could not be read.
func unreadable(err error) config.Problem {
	problem := config.Problem{Severity: config.Error, What: err.Error(), Fix: "name another path, or change what is there"}
	if cause := (*fs.PathError)(nil); errors.As(err, &cause) {
		problem.Pos.File = cause.Path
		problem.What, problem.Fix = fmt.Sprintf("cannot be read: %v", cause.Err), "check the path and its permissions"
	}
	return problem
}

// readReferenced reads files that a document refers to, and notes them for the
// watch, also when they are not there yet.
func (p *Plane) readReferenced(read func(path string) ([]byte, error)) func(path string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		p.filesMu.Lock()
		p.files = append(p.files, path)
		p.filesMu.Unlock()
		return read(path)
	}
}

func (p *Plane) referenced() []string {
	p.filesMu.Lock()
	defer p.filesMu.Unlock()
	return append([]string(nil), p.files...)
}

// maxLogged bounds the problems that one load logs one by one.
const maxLogged = 20

func (p *Plane) logResult(reason string, result *Result) {
	p.logProblems(result.Problems)
	switch {
	case result.Err != nil:
		p.cfg.Log.Error("snapshot could not be applied; the last one stays", "reason", reason, "error", result.Err)
	case result.Changed:
		p.cfg.Log.Info("snapshot applied", "reason", reason, "number", result.Snapshot.Number, "held", len(result.Snapshot.Held))
	case result.Problems.Errors() > 0:
		p.cfg.Log.Error("documents have errors; the last good state stays", "reason", reason)
	default:
		p.cfg.Log.Debug("documents unchanged", "reason", reason)
	}
}

// logProblems logs the problems unless the last load had the same. Those of
// Load are for its caller to show.
func (p *Plane) logProblems(problems config.Problems) {
	if slices.Equal(problems, p.problems) {
		return
	}
	p.problems = problems
	for i, problem := range problems {
		if i == maxLogged {
			p.cfg.Log.Warn("more problems; weir check lists all", "problems", len(problems)-i)
			break
		}
		level := slog.LevelWarn
		if problem.Severity == config.Error {
			level = slog.LevelError
		}
		p.cfg.Log.Log(context.Background(), level, problem.String(), "object", problem.Object)
	}
}
