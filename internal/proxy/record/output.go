package record

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	bufferSize = 64 << 10 // of lines in a shard before they are handed over
	flushEvery = time.Second
	// maxBacklog bounds the lines that a stalled or failing sink makes wait.
	maxBacklog = 16 << 20
	closeWait  = 5 * time.Second
)

// lineStats counts what became of the lines.
type lineStats struct {
	written, dropped, errors atomic.Int64
}

// sink is where lines end up.
type sink interface {
	Write(p []byte) (int, error)
	// Reopen opens the path again. On an error the old file stays in use.
	Reopen() error
	// Moved tells whether the path is not that of the open file any more.
	Moved() bool
	Close() error
}

// output writes the lines of all shards to one sink, on one goroutine.
type output struct {
	to     string
	sink   sink
	stats  *lineStats
	logger *slog.Logger

	mu      sync.Mutex
	backlog []chunk // oldest first
	waiting int     // bytes in backlog
	free    [][]byte

	wake  chan struct{}
	calls chan func() // run by the goroutine
	quit  chan struct{}
	done  chan struct{}

	// Of the goroutine.
	failing bool // the last write failed
	lost    bool // the last reopening failed
	torn    bool // the first chunk begins inside of a line
}

// chunk is some whole lines.
type chunk struct {
	data  []byte
	lines int
}

func newOutput(to string, s sink, stats *lineStats, logger *slog.Logger) *output {
	return &output{
		to: to, sink: s, stats: stats, logger: logger,
		wake: make(chan struct{}, 1), calls: make(chan func()),
		quit: make(chan struct{}), done: make(chan struct{}),
	}
}

// put takes c over and returns an empty buffer in its place.
func (o *output) put(c chunk) []byte {
	o.mu.Lock()
	if o.waiting+len(c.data) > maxBacklog {
		o.mu.Unlock()
		o.stats.dropped.Add(int64(c.lines))
		return c.data[:0]
	}
	o.backlog = append(o.backlog, c)
	o.waiting += len(c.data)
	var fresh []byte
	if last := len(o.free) - 1; last >= 0 {
		fresh, o.free = o.free[last], o.free[:last]
	}
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
	if fresh == nil {
		fresh = make([]byte, 0, bufferSize)
	}
	return fresh
}

// run writes until quit. collect brings what the shards still hold.
func (o *output) run(collect func(*output)) {
	defer close(o.done)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-o.wake:
			if !o.failing { // then only the tick tries again
				_ = o.drain() // which tells its error itself
			}
		case <-tick.C:
			collect(o)
			if o.sink.Moved() {
				_ = o.reopen() // likewise
			}
			_ = o.drain()
		case call := <-o.calls:
			call()
		case <-o.quit:
			collect(o)
			_ = o.drain()
			o.giveUp()
			if err := o.sink.Close(); err != nil {
				o.failed(err)
			}
			return
		}
	}
}

// drain writes the backlog until it is empty or the sink fails.
func (o *output) drain() error {
	for {
		o.mu.Lock()
		if len(o.backlog) == 0 {
			o.mu.Unlock()
			return nil
		}
		first := o.backlog[0]
		o.mu.Unlock()
		// Only this goroutine removes chunks, so first stays the first.
		n, err := o.sink.Write(first.data)
		if err == nil && n < len(first.data) {
			err = fmt.Errorf("wrote %d of %d bytes", n, len(first.data))
		}
		o.wrote(first, n)
		if err != nil {
			o.failed(err)
			return fmt.Errorf("access log %s: %w", o.to, err)
		}
		if o.failing {
			o.failing = false
			o.logger.Info("access log is written again", "to", o.to)
		}
	}
}

// wrote takes n bytes off the first chunk, and the chunk off the backlog when
// nothing of it is left.
func (o *output) wrote(first chunk, n int) {
	lines := bytes.Count(first.data[:n], []byte{'\n'})
	o.stats.written.Add(int64(lines))
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting -= n
	if n < len(first.data) {
		o.torn = o.torn && n == 0 || n > 0 && first.data[n-1] != '\n'
		o.backlog[0] = chunk{data: first.data[n:], lines: first.lines - lines}
		return
	}
	o.torn = false
	o.backlog[0] = chunk{}
	o.backlog = o.backlog[1:]
	if len(o.backlog) == 0 {
		o.backlog = nil
	}
	if cap(first.data) == bufferSize && len(o.free) < maxShards {
		o.free = append(o.free, first.data[:0])
	}
}

func (o *output) failed(err error) {
	o.stats.errors.Add(1)
	if !o.failing {
		o.failing = true
		o.logger.Error("cannot write the access log; lines wait in memory and are dropped when there are too many",
			"to", o.to, "max_bytes", maxBacklog, "error", err)
	}
}

// reopen is run by the goroutine.
func (o *output) reopen() error {
	if err := o.sink.Reopen(); err != nil {
		o.stats.errors.Add(1)
		if !o.lost { // it is tried every second
			o.lost = true
			o.logger.Error("cannot open the access log again; the old file stays in use", "to", o.to, "error", err)
		}
		return err
	}
	o.lost = false
	o.skipTorn()
	return nil
}

// skipTorn drops the rest of a line whose beginning is in another file.
func (o *output) skipTorn() {
	if !o.torn {
		return
	}
	o.torn = false
	o.mu.Lock()
	defer o.mu.Unlock()
	first := &o.backlog[0]
	end := bytes.IndexByte(first.data, '\n') + 1
	first.data = first.data[end:]
	first.lines--
	o.waiting -= end
	o.stats.dropped.Add(1)
	if len(first.data) == 0 {
		o.backlog = o.backlog[1:]
	}
}

// giveUp drops what could not be written.
func (o *output) giveUp() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.backlog {
		o.stats.dropped.Add(int64(c.lines))
	}
	o.backlog, o.waiting = nil, 0
}

// do runs call on the goroutine and waits for it.
func (o *output) do(call func() error) error {
	result := make(chan error, 1)
	timeout := time.NewTimer(closeWait)
	defer timeout.Stop()
	select {
	case o.calls <- func() { result <- call() }:
	case <-o.done:
		return errors.New("access log is closed")
	case <-timeout.C:
		return fmt.Errorf("access log %s: the last write has not ended after %s", o.to, closeWait)
	}
	select {
	case err := <-result:
		return err
	case <-timeout.C:
		return fmt.Errorf("access log %s: no end after %s", o.to, closeWait)
	}
}

// wait waits for the end of the goroutine, after quit is closed.
func (o *output) wait() error {
	timeout := time.NewTimer(closeWait)
	defer timeout.Stop()
	select {
	case <-o.done:
		return nil
	case <-timeout.C:
		return fmt.Errorf("access log %s: the last write has not ended after %s; lines are lost", o.to, closeWait)
	}
}

// write appends a line. mu is held.
func (s *shard) write(line []byte) {
	if len(s.lines)+len(line) > cap(s.lines) {
		if s.count > 0 {
			s.handOver()
		}
		if s.lines == nil {
			s.lines = make([]byte, 0, bufferSize)
		}
	}
	s.lines = append(s.lines, line...)
	s.count++
}

// handOver gives the lines to the output. mu is held.
func (s *shard) handOver() {
	if s.count == 0 {
		return
	}
	s.lines = s.log.out.put(chunk{data: s.lines, lines: s.count})
	s.count = 0
}
