package fault

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/stream"
)

// drill is one run of some settings on this proxy: when it began, when it ends,
// and how much it has done. Reloads that leave the settings alone go on with it.
type drill struct {
	since      time.Time // these settings first ran
	begin, end time.Time
	mode       string
	most       float64 // share
	room       int64   // faults at a time
	window     window
	active     atomic.Int64

	once    sync.Once
	halted  atomic.Bool
	stopped chan struct{}
}

func newDrill(s *Settings, now time.Time) *drill {
	d := &drill{since: now, begin: now, mode: s.Mode, most: s.Stop.MaxShare, room: int64(s.Stop.MaxActive), stopped: make(chan struct{})}
	if s.When.From != nil && time.Time(*s.When.From).After(now) {
		d.begin = time.Time(*s.When.From)
	}
	d.end = d.begin.Add(time.Duration(s.Stop.After))
	if s.When.Until != nil && time.Time(*s.When.Until).Before(d.end) {
		d.end = time.Time(*s.When.Until)
	}
	return d
}

// runs tells whether faults are made now.
func (d *drill) runs(now time.Time) bool {
	return !d.halted.Load() && !now.Before(d.begin) && now.Before(d.end)
}

// stop ends it before its time, and the waits that are under way.
func (d *drill) stop() {
	d.once.Do(func() {
		d.halted.Store(true)
		close(d.stopped)
	})
}

// refusal is why a fault is not made.
type refusal uint8

const (
	admitted refusal = iota
	shareReached
	roomUsed
	numRefusals
)

var refusals = [numRefusals]string{shareReached: "max_share", roomUsed: "max_active"}

// admit asks for a fault now. Who is admitted calls release when it is over.
func (d *drill) admit(now time.Time) refusal {
	if d.active.Add(1) > d.room {
		d.release()
		return roomUsed
	}
	if !d.window.take(now, d.most) {
		d.release()
		return shareReached
	}
	return admitted
}

func (d *drill) release() { d.active.Add(-1) }

// wait is where a request waits: for so long, but not longer than the drill
// runs or the request lives. It is the only place.
func (d *drill) wait(ctx context.Context, pause time.Duration) *stream.Fault {
	if pause = min(pause, time.Until(d.end)); pause <= 0 {
		return nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.stopped:
	case <-ctx.Done():
		return &stream.Fault{Kind: stream.ClientGone, Cause: context.Cause(ctx)}
	}
	return nil
}

// View is what operators see of a drill.
type View struct {
	State    string    `json:"state"` // waiting, running, ended or stopped
	Mode     string    `json:"mode"`
	Since    time.Time `json:"since"` // these settings first ran here
	Begins   time.Time `json:"begins"`
	Ends     time.Time `json:"ends"`
	Active   int64     `json:"active"` // faults under way
	Requests int64     `json:"requests_last_minute"`
	Faults   int64     `json:"faults_last_minute"`
	Share    float64   `json:"share_last_minute"`
	MaxShare float64   `json:"max_share"`
}

func (d *drill) view(now time.Time) View {
	v := View{Mode: d.mode, Since: d.since, Begins: d.begin, Ends: d.end, Active: d.active.Load(), MaxShare: d.most}
	switch {
	case d.halted.Load():
		v.State = "stopped"
	case now.Before(d.begin):
		v.State = "waiting"
	case now.Before(d.end):
		v.State = "running"
	default:
		v.State = "ended"
	}
	v.Requests, v.Faults = d.window.measured(now)
	if v.Requests > 0 {
		v.Share = float64(v.Faults) / float64(v.Requests)
	}
	return v
}
