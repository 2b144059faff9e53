package engine

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/canary"
)

// life is one process: what canaries are at in it, and its log.
type life struct {
	*canaryState
	log  bytes.Buffer
	done chan struct{}
}

func live(t *testing.T, directory string) *life {
	t.Helper()
	l := &life{done: make(chan struct{})}
	l.canaryState = newCanaryState(directory, slog.New(slog.NewTextHandler(&l.log, nil)))
	if err := l.open(); err != nil {
		t.Fatal(err)
	}
	go l.keep(l.done)
	return l
}

func (l *life) end() {
	close(l.done)
	<-l.stopped
}

func (l *life) canary(route string, spec config.Canary) *canary.Controller {
	definition, err := definitionOf(&spec)
	if err != nil {
		panic(err)
	}
	return l.controller(route, definition, canary.Config{
		Steps: spec.Steps, Hold: time.Minute, MinRequests: 50, MaxErrors: 0.5, FalseAlarm: 0.01, OnChange: func(canary.State, canary.Saved) {},
	}, l.canaryState.log)
}

// TestCanariesOutliveTheProcess, and begin anew where what is kept is of another
// one, or cannot be believed; the log says why.
func TestCanariesOutliveTheProcess(t *testing.T) {
	steps := config.Canary{Cluster: "new", Steps: []float64{0.05, 0.5, 1}}
	edited := config.Canary{Cluster: "new", Steps: []float64{0.05, 0.6, 1}}
	for _, x := range []struct {
		name    string
		before  []canary.Command
		between func(file string) error // nil: nothing
		after   config.Canary
		phase   string
		share   float64
		says    string
	}{
		{"rolled back", []canary.Command{canary.RollBack}, nil, steps, "rolled_back", 0, "goes on where it was"},
		{"paused", []canary.Command{canary.Pause}, nil, steps, "paused", 0.05, "goes on where it was"},
		{"promoted", []canary.Command{canary.Promote}, nil, steps, "promoted", 1, "goes on where it was"},
		{"edited", []canary.Command{canary.RollBack}, nil, edited, "running", 0.05, "not the one that was kept"},
		{"lost", []canary.Command{canary.RollBack}, os.Remove, steps, "running", 0.05, "nothing is known of it"},
		{"broken", []canary.Command{canary.RollBack}, writing("{"), steps, "running", 0.05, "cannot be read"},
		{"of a later weir", []canary.Command{canary.RollBack}, writing(`{"version": 2, "canaries": {}}`), steps, "running", 0.05, "version 2"},
		{"impossible", []canary.Command{canary.RollBack}, replacing(`"step": 1`, `"step": 9`), steps, "running", 0.05, "step 9 is none of 3"},
	} {
		t.Run(x.name, func(t *testing.T) {
			directory := filepath.Join(t.TempDir(), "weir") // it is made
			first := live(t, directory)
			c := first.canary("shop", steps)
			for _, command := range x.before {
				if err := c.Do(command, time.Now()); err != nil {
					t.Fatal(err)
				}
			}
			first.end()
			file := filepath.Join(directory, canaryFileName)
			if x.between != nil {
				if err := x.between(file); err != nil {
					t.Fatal(err)
				}
			}
			second := live(t, directory)
			got := second.canary("shop", x.after).State()
			second.end()
			if got.Phase != x.phase || got.Share != x.share || !strings.Contains(second.log.String(), x.says) {
				t.Errorf("it is %s with %v; the log says\n%s", got.Phase, got.Share, second.log.String())
			}
			_, err := os.Stat(file + ".broken")
			if aside := err == nil; aside != (x.says == "cannot be read" || x.says == "version 2") {
				t.Errorf("put aside: %v", aside)
			}
		})
	}
}

func writing(text string) func(string) error {
	return func(file string) error { return os.WriteFile(file, []byte(text), 0o600) }
}

func replacing(old, text string) func(string) error {
	return func(file string) error {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		return os.WriteFile(file, bytes.Replace(content, []byte(old), []byte(text), 1), 0o600)
	}
}

// TestCanaryBeforeReload: one that still drains says nothing about the one that
// runs now, and what the document has no more is forgotten.
func TestCanaryBeforeReload(t *testing.T) {
	directory := t.TempDir()
	first := live(t, directory)
	old := first.canary("shop", config.Canary{Cluster: "new", Steps: []float64{0.05, 1}})
	now := first.canary("shop", config.Canary{Cluster: "new", Steps: []float64{0.1, 1}})
	_ = now.Do(canary.Pause, time.Now())
	_ = old.Do(canary.RollBack, time.Now())
	first.end()
	second := live(t, directory)
	if known := second.known["shop"]; known.Phase != "paused" {
		t.Errorf("%+v", known)
	}
	second.retain(&generation{})
	second.end()
	third := live(t, directory)
	if len(third.known) != 0 {
		t.Errorf("%+v", third.known)
	}
	third.end()
}

// TestStateThatCannotBeKept: weir does not start, rather than forget later.
func TestStateThatCannotBeKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := newCanaryState(file, slog.New(slog.DiscardHandler)).open(); err == nil {
		t.Error("a file was taken for a directory")
	}
}
