package record

import "errors"

// collect takes the lines that shards hold for o.
func (r *Recorder) collect(o *output) {
	for _, s := range r.shards {
		s.mu.Lock()
		if s.log.out == o {
			s.handOver()
		}
		s.mu.Unlock()
	}
}

// Flush writes every line of exchanges that are done.
func (r *Recorder) Flush() error {
	return r.collected((*output).drain)
}

// Reopen opens the file of the access log again, after a rotation. Lines
// before the call are in the old file.
func (r *Recorder) Reopen() error {
	return r.collected(func(o *output) error { return errors.Join(o.drain(), o.reopen()) })
}

// collected calls then, on the goroutine of the output, once that has the lines
// of all shards.
func (r *Recorder) collected(then func(*output) error) error {
	r.apply.Lock()
	defer r.apply.Unlock()
	o := r.log.Load().out
	if o == nil {
		return nil
	}
	return o.do(func() error {
		r.collect(o)
		return then(o)
	})
}

// Close writes every line and ends the access log. Exchanges that end later
// are counted and get no line.
func (r *Recorder) Close() error {
	r.apply.Lock()
	defer r.apply.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	last := *r.log.Load()
	out := last.out
	last.out = nil
	r.log.Store(&last)
	r.change(&last)
	if out != nil {
		r.leave(out)
	}
	var failed error
	for _, o := range r.leaving {
		failed = errors.Join(failed, o.wait())
	}
	return failed
}

// leave lets an output that no shard uses any more write what it has and end.
func (r *Recorder) leave(o *output) {
	close(o.quit)
	still := r.leaving[:0]
	for _, old := range r.leaving {
		select {
		case <-old.done:
		default:
			still = append(still, old)
		}
	}
	r.leaving = append(still, o)
}
