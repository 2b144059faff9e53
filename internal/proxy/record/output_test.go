package record

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/stream"
)

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// records counts the lines of text, each of which must be whole.
func records(t *testing.T, text string) int {
	t.Helper()
	for line := range strings.Lines(text) {
		parse(t, line)
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		t.Error("the last line is torn")
	}
	return strings.Count(text, "\n")
}

func TestFlushedEverySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out pipe
		r := newRecorder(t, toStdout(&out))
		r.Done(exchange(r))
		synctest.Wait()
		if out.text() != "" {
			t.Error("a line is written at once, not buffered")
		}
		time.Sleep(flushEvery + time.Millisecond)
		synctest.Wait()
		if n := records(t, out.text()); n != 1 {
			t.Errorf("%d lines after a second, want 1", n)
		}
	})
}

func TestFullBufferIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out pipe
		r := newRecorder(t, toStdout(&out))
		for range 200 { // more than 64 KiB on one shard
			r.Done(exchange(r))
		}
		synctest.Wait()
		if n := records(t, out.text()); n < 50 || n >= 200 {
			t.Errorf("%d of 200 lines are written without a flush", n)
		}
	})
}

// TestRotation moves the file away, removes it, and reopens on demand; no line
// is lost and none is torn.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "access.log")
		cfg := toStdout(nil)
		cfg.AccessLog.To = path
		r := newRecorder(t, cfg)
		tick := func() {
			time.Sleep(flushEvery)
			synctest.Wait()
		}
		r.Done(exchange(r))
		tick()
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		r.Done(exchange(r))
		tick()
		if n := records(t, readFile(t, path)); n != 1 {
			t.Errorf("%d lines in the new file, want 1", n)
		}
		if n := records(t, readFile(t, path+".1")); n != 1 {
			t.Errorf("%d lines in the old file, want 1", n)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		tick()
		if n := records(t, readFile(t, path)); n != 0 {
			t.Errorf("%d lines in the file made after the removal, want 0", n)
		}
		// SIGUSR1: lines before it are in the old file.
		r.Done(exchange(r))
		if err := os.Rename(path, path+".2"); err != nil {
			t.Fatal(err)
		}
		if err := r.Reopen(); err != nil {
			t.Fatal(err)
		}
		if n := records(t, readFile(t, path+".2")); n != 1 {
			t.Errorf("%d lines in the file before Reopen, want 1", n)
		}
		// copytruncate
		r.Done(exchange(r))
		if err := errors.Join(r.Flush(), os.Truncate(path, 0)); err != nil {
			t.Fatal(err)
		}
		r.Done(exchange(r))
		if err := r.Flush(); err != nil {
			t.Fatal(err)
		}
		if n := records(t, readFile(t, path)); n != 1 {
			t.Errorf("%d lines after the truncation, want 1", n)
		}
		if d := r.lines.dropped.Load(); d != 0 {
			t.Errorf("%d lines dropped", d)
		}
	})
}

// TestReopenFails keeps the old file.
func TestReopenFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sub", "access.log")
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	cfg := toStdout(nil)
	cfg.AccessLog.To = path
	r := newRecorder(t, cfg)
	moved := filepath.Join(dir, "moved")
	if err := os.Rename(filepath.Dir(path), moved); err != nil {
		t.Fatal(err)
	}
	if err := r.Reopen(); err == nil {
		t.Error("Reopen below a directory that is gone succeeds")
	}
	r.Done(exchange(r))
	if err := r.Flush(); err != nil {
		t.Error(err)
	}
	if n := records(t, readFile(t, filepath.Join(moved, "access.log"))); n != 1 {
		t.Errorf("%d lines in the old file, want 1", n)
	}
	if r.lines.errors.Load() != 1 {
		t.Error("the failure is not counted")
	}
}

// TestDiskFull writes half of a line, fails for a while and goes on: every
// line arrives whole and once.
func TestDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out pipe
		out.fail = func(n int) (int, error) { return n / 3, errors.New("no space left on device") }
		r := newRecorder(t, toStdout(&out))
		for range 10 {
			r.Done(exchange(r))
		}
		time.Sleep(3*flushEvery + time.Millisecond)
		synctest.Wait()
		if errs := r.lines.errors.Load(); errs != 3 {
			t.Errorf("%d errors counted, want one per second: 3", errs)
		}
		out.mu.Lock()
		out.fail = nil
		out.mu.Unlock()
		time.Sleep(flushEvery)
		synctest.Wait()
		if n := records(t, out.text()); n != 10 {
			t.Errorf("%d lines, want 10", n)
		}
		if w, d := r.lines.written.Load(), r.lines.dropped.Load(); w != 10 || d != 0 {
			t.Errorf("%d written, %d dropped; want 10, 0", w, d)
		}
	})
}

// TestTornAcrossFiles: the rest of a line whose beginning went to the full
// disk does not begin the next file.
func TestTornAcrossFiles(t *testing.T) {
	o := newOutput("x", nil, &lineStats{}, toStdout(nil).Log)
	var first, second pipe
	first.fail = func(int) (int, error) { return 3, errors.New("full") }
	s := &swap{Writer: &first}
	o.sink = s
	o.put(chunk{data: []byte("aaaa\nbbbb\n"), lines: 2})
	if o.drain() == nil {
		t.Fatal("no error")
	}
	s.next = &second
	if err := o.reopen(); err != nil {
		t.Fatal(err)
	}
	if err := o.drain(); err != nil {
		t.Fatal(err)
	}
	if got := second.text(); got != "bbbb\n" {
		t.Errorf("the second file has %q", got)
	}
	if w, d := o.stats.written.Load(), o.stats.dropped.Load(); w != 1 || d != 1 {
		t.Errorf("%d written, %d dropped; want 1, 1", w, d)
	}
}

// swap is a sink that Reopen exchanges.
type swap struct {
	Writer interface{ Write([]byte) (int, error) }
	next   *pipe
}

func (s *swap) Write(p []byte) (int, error) { return s.Writer.Write(p) }
func (s *swap) Reopen() error               { s.Writer = s.next; return nil }
func (s *swap) Moved() bool                 { return false }
func (s *swap) Close() error                { return nil }

// TestStalledSink: requests go on, memory is bounded, and what is dropped is
// counted to the line.
func TestStalledSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stall{release: make(chan struct{})}
		r := newRecorder(t, toStdout(out))
		req := exchange(r)
		req.Header.Set("User-Agent", strings.Repeat("x", 8000))
		const total = 4000 // some 34 MB
		for range total {
			r.Done(req)
		}
		o := r.log.Load().out
		o.mu.Lock()
		waiting := o.waiting
		o.mu.Unlock()
		if waiting > maxBacklog || waiting < maxBacklog/2 {
			t.Errorf("%d bytes wait, want nearly %d", waiting, maxBacklog)
		}
		close(out.release)
		if err := r.Flush(); err != nil {
			t.Error(err)
		}
		w, d := r.lines.written.Load(), r.lines.dropped.Load()
		if w+d != total || d == 0 || int64(records(t, out.text())) != w {
			t.Errorf("%d written and %d dropped of %d", w, d, total)
		}
	})
}

type stall struct {
	pipe
	release chan struct{}
}

func (s *stall) Write(p []byte) (int, error) {
	<-s.release
	return s.pipe.Write(p)
}

// TestCloseGivesUp does not wait for ever for a sink that never returns.
func TestCloseGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stall{release: make(chan struct{})}
		r, err := New(toStdout(out))
		if err != nil {
			t.Fatal(err)
		}
		r.Done(exchange(r))
		began := time.Now()
		if err := r.Close(); err == nil || time.Since(began) != closeWait {
			t.Errorf("Close returned %v after %v", err, time.Since(began))
		}
		close(out.release)
	})
}

// TestApply changes the format and the file under load: each file holds lines
// of one format, and no line and no count is lost.
func TestApply(t *testing.T) {
	dir := t.TempDir()
	forms := []Config{toStdout(nil), toStdout(nil), toStdout(nil)}
	for i, name := range []string{"a.json", "b.text", "c.json"} {
		forms[i].AccessLog.To = filepath.Join(dir, name)
	}
	forms[1].AccessLog.Format, forms[1].AccessLog.Template = "text", "T {path}"
	r, err := New(forms[0])
	if err != nil {
		t.Fatal(err)
	}
	const workers, each = 4, 3000
	var group sync.WaitGroup
	for id := range uint64(workers) {
		group.Go(func() {
			req := exchange(r)
			req.Conn = &stream.Conn{ID: id}
			for range each {
				r.Done(req)
			}
		})
	}
	for i := range 60 {
		if err := r.Apply(forms[i%3]); err != nil {
			t.Error(err)
		}
	}
	if err := r.Apply(Config{AccessLog: forms[0].AccessLog, Metrics: forms[0].Metrics}); err != nil {
		t.Error(err)
	}
	broken := forms[0]
	broken.AccessLog.Format = "nope"
	if r.Apply(broken) == nil {
		t.Error("a bad format is taken")
	}
	group.Wait()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	count := records(t, readFile(t, forms[0].AccessLog.To)) + records(t, readFile(t, forms[2].AccessLog.To))
	text := readFile(t, forms[1].AccessLog.To)
	count += strings.Count(text, "T /v1/orders/17\n")
	if strings.Count(text, "\n") != strings.Count(text, "T /v1/orders/17\n") {
		t.Error("the text file holds other lines")
	}
	if count != workers*each {
		t.Errorf("%d lines, want %d", count, workers*each)
	}
	if got := r.sum(r.routes.own(), r.clusters.own()).routes[firstOwn].total.Count; got != workers*each {
		t.Errorf("%d exchanges counted, want %d", got, workers*each)
	}
	if r.Apply(forms[0]) == nil {
		t.Error("Apply after Close succeeds")
	}
	r.Done(exchange(r)) // counted, no line, no panic
}

func TestOff(t *testing.T) {
	cfg := toStdout(nil)
	cfg.AccessLog.To = "off"
	r := newRecorder(t, cfg)
	r.Done(exchange(r))
	if err := errors.Join(r.Flush(), r.Reopen()); err != nil {
		t.Error(err)
	}
}

func TestLineLargerThanTheBuffer(t *testing.T) {
	cfg := toStdout(nil)
	var out pipe
	cfg.Stdout = &out
	r := newRecorder(t, cfg)
	for range 3 {
		r.Done(poisoned(strings.Repeat("\x01", 20_000)))
		r.Done(exchange(r))
	}
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	if n := records(t, out.text()); n != 6 {
		t.Errorf("%d lines, want 6", n)
	}
	if !bytes.Contains([]byte(out.text()), []byte("payments")) {
		t.Error("the small lines are missing")
	}
}
