package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/canary"
	"github.com/weirproxy/weir/internal/proxy/record"
	"github.com/weirproxy/weir/internal/statefile"
)

// canaryState is what canaries are at, kept in a file so that a restart of the
// process does not give a share back to one that was rolled back, and does not
// take one from what was promoted. What cannot be believed is not: such a canary
// begins with its first step, and the log says why.
type canaryState struct {
	path string // "": nothing is kept
	log  *slog.Logger

	mu      sync.Mutex
	known   map[string]keptCanary // by route
	dirty   bool                  // known is not what the file says
	changed chan struct{}         // with room for one
	stopped chan struct{}         // closed when nobody writes any more

	written, failed atomic.Int64
}

// keptCanary is one canary in the file.
type keptCanary struct {
	// Definition is a hash of that part of the document: another one is another
	// canary.
	Definition string `json:"definition"`
	canary.Saved
}

// canaryFile is the file.
type canaryFile struct {
	Version  int                   `json:"version"`
	Canaries map[string]keptCanary `json:"canaries"`
}

const (
	canaryFileName    = "canaries.json"
	canaryFileVersion = 1
	// writeAgain is how long after a failed write the next is tried.
	writeAgain = 10 * time.Second
)

func newCanaryState(directory string, log *slog.Logger) *canaryState {
	s := &canaryState{log: log, known: map[string]keptCanary{}, changed: make(chan struct{}, 1)}
	if directory != "" {
		s.path = filepath.Join(directory, canaryFileName)
	}
	return s
}

// open reads the file, and finds out whether it can be written.
func (s *canaryState) open() error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return fmt.Errorf("the directory for state: %w", err)
	}
	content, found, err := statefile.Read(s.path)
	var file canaryFile
	if err == nil && found {
		file, err = parseCanaryFile(content)
	}
	switch {
	case err != nil:
		aside := s.path + ".broken"
		s.log.Error("what canaries were at cannot be read: all of them begin with their first step", "file", s.path, "err", err,
			"kept_as", aside, "not_kept", os.Rename(s.path, aside))
	case found:
		maps.Copy(s.known, file.Canaries)
	}
	if err := s.write(); err != nil {
		return fmt.Errorf("the state of canaries cannot be kept: %w; let weir write there, or leave --state out", err)
	}
	s.stopped = make(chan struct{})
	return nil
}

func parseCanaryFile(content []byte) (file canaryFile, err error) {
	if err = json.Unmarshal(content, &file); err != nil {
		return canaryFile{}, err
	}
	if file.Version != canaryFileVersion {
		return canaryFile{}, fmt.Errorf("it has version %d, and this weir writes %d", file.Version, canaryFileVersion)
	}
	return file, nil
}

// controller is one that goes on where the canary of the route was, or begins.
func (s *canaryState) controller(route string, definition string, cfg canary.Config, log *slog.Logger) *canary.Controller {
	cfg.OnChange = s.telling(route, definition, cfg.OnChange)
	now := time.Now()
	if s.path == "" {
		return canary.New(cfg, now)
	}
	s.mu.Lock()
	known, ok := s.known[route]
	s.mu.Unlock()
	var why string
	switch {
	case !ok:
		why = "nothing is known of it"
	case known.Definition != definition:
		why = "it is not the one that was kept"
	default:
		c, err := canary.Restore(cfg, known.Saved, now)
		if err == nil {
			log.Info("a canary goes on where it was", "phase", known.Phase, "step", known.Step, "reason", known.Reason)
			return c
		}
		why = "what was kept of it cannot be: " + err.Error()
	}
	log.Warn("a canary begins with its first step", "because", why)
	c := canary.New(cfg, now)
	first := keptCanary{definition, c.Saved()}
	s.mu.Lock()
	s.known[route] = first
	s.mu.Unlock()
	s.wake()
	return c
}

// telling also keeps each change. It is called on the path of a request: it does
// not wait for the disk.
func (s *canaryState) telling(route, definition string, next func(canary.State, canary.Saved)) func(canary.State, canary.Saved) {
	return func(state canary.State, saved canary.Saved) {
		next(state, saved)
		s.mu.Lock()
		current := s.known[route].Definition == definition // and not one before a reload, which still drains
		if current {
			s.known[route] = keptCanary{definition, saved}
		}
		s.mu.Unlock()
		if current {
			s.wake()
		}
	}
}

// retain forgets canaries that are not in the document any more.
func (s *canaryState) retain(g *generation) {
	s.mu.Lock()
	before := len(s.known)
	maps.DeleteFunc(s.known, func(route string, _ keptCanary) bool {
		svc := g.services[route]
		return svc == nil || svc.canary == nil
	})
	forgot := len(s.known) < before
	s.mu.Unlock()
	if forgot {
		s.wake()
	}
}

func (s *canaryState) wake() {
	s.mu.Lock()
	s.dirty = true
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default: // it is awake
	}
}

// keep writes what changes until done.
func (s *canaryState) keep(done <-chan struct{}) {
	defer close(s.stopped)
	var again <-chan time.Time
	for {
		select {
		case <-done:
			s.try()
			return
		case <-s.changed:
		case <-again:
		}
		again = nil
		if !s.try() {
			again = time.After(writeAgain)
		}
	}
}

// try writes what has changed, and tells whether the file is as it should be.
func (s *canaryState) try() bool {
	s.mu.Lock()
	dirty := s.dirty
	s.mu.Unlock()
	if !dirty {
		return true
	}
	err := s.write()
	if err != nil {
		s.log.Error("what canaries are at was not kept; a restart would find what the file has", "file", s.path, "err", err)
	}
	return err == nil
}

func (s *canaryState) write() error {
	s.mu.Lock()
	content, err := json.MarshalIndent(canaryFile{canaryFileVersion, s.known}, "", "  ")
	s.dirty = false
	s.mu.Unlock()
	if err == nil {
		err = statefile.Write(s.path, append(content, '\n'))
	}
	if err != nil {
		s.failed.Add(1)
		s.mu.Lock()
		s.dirty = true
		s.mu.Unlock()
		return err
	}
	s.written.Add(1)
	return nil
}

// definitionOf is what makes a canary the same one.
func definitionOf(c *config.Canary) (string, error) {
	text, err := config.CanonicalJSON(c)
	if err != nil {
		return "", fmt.Errorf("canary: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

var stateWrites = counter("weir_state_writes_total", "Writes of the state that outlives the process, by result.")

func (s *canaryState) samples(emit func(record.Sample)) {
	if s.path == "" {
		return
	}
	stateWrites.sample(emit, float64(s.written.Load()), "result", "written")
	stateWrites.sample(emit, float64(s.failed.Load()), "result", "failed")
}
