package engine

import (
	"cmp"
	"strconv"
	"sync"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/proxy/admin"
	"github.com/weirproxy/weir/internal/proxy/balance"
	"github.com/weirproxy/weir/internal/proxy/record"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/stream"
)

// balancing is how an upstream chooses endpoints.
type balancing struct {
	picker balance.Picker
	stats  balance.Stats
	key    func(*stream.Request) (uint64, bool) // nil: not by key

	mu     sync.Mutex
	panics map[int]bool // by priority: health is not believed. Guarded by mu
}

// assembleBalancing makes the balancer and the empty set, which knows how the
// endpoints are to share.
func (u *upstream) assembleBalancing() error {
	spec, b := &u.spec.Spec, &u.balancing
	var err error
	if b.picker, err = balance.New(balance.Config{Name: spec.Balance, HashBound: spec.HashBound, Stats: &b.stats}); err != nil {
		return err
	}
	switch spec.Balance {
	case "hash", "maglev", "rendezvous":
		key, err := requestkey.Parse(spec.HashKey)
		if err != nil {
			return err
		}
		b.key = key.Hash
	}
	layout := endpoint.Layout{Overprovision: spec.Overprovision, PanicBelow: spec.Panic.Below, OnStanding: u.notePanic}
	if z := spec.Zone; z != nil {
		layout.Zone, layout.ZoneLeast = cmp.Or(z.Local, u.engine.cfg.Zone), z.MinEndpoints
		if layout.Zone == "" {
			u.engine.log.Warn("no zone is preferred: start weir with --zone, or write zone.local", "cluster", spec.Name)
		}
	}
	if s := spec.SlowStart; s != nil {
		layout.SlowStart = endpoint.SlowStart{Window: time.Duration(s.Window), Least: s.MinShare, Aggression: s.Aggression}
	}
	layout.Reports = u.weighsLoad()
	u.set = layout.NewSet(nil)
	return nil
}

// notePanic says when health begins and ceases to be believed.
func (u *upstream) notePanic(st *endpoint.Standing) {
	b := &u.balancing
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range st.Levels {
		l := &st.Levels[i]
		if b.panics[l.Priority] == l.Panic {
			continue
		}
		if b.panics == nil {
			b.panics = map[int]bool{}
		}
		b.panics[l.Priority] = l.Panic
		said := "enough endpoints are fit again: their health is believed"
		if l.Panic {
			said = "too few endpoints are fit to believe it: all are used, whatever their health"
		}
		u.engine.log.Warn(said, "cluster", u.spec.Spec.Name, "priority", l.Priority, "fit", l.FitCount, "panic_below", u.spec.Spec.Panic.Below)
	}
}

// standing is how the endpoints share now; nil: there is nothing to decide.
func (u *upstream) standing(now time.Time) (*endpoint.Set, *endpoint.Standing) {
	set := u.cluster.Endpoints()
	if set.Levels() == nil {
		return set, nil
	}
	return set, set.Standing(now)
}

// levels are the priorities for people.
func (u *upstream) levels(now time.Time) []admin.Level {
	set, st := u.standing(now)
	if st == nil {
		return nil
	}
	rows := make([]admin.Level, len(st.Levels))
	for i, l := range st.Levels {
		rows[i] = admin.Level{Priority: l.Priority, Fit: l.FitCount, Of: set.Levels()[i].Set.Len(), Share: l.Share, Panic: l.Panic}
		if l.Zones != nil {
			rows[i].Local = &l.Local
		}
	}
	return rows
}

// placed adds to a row what the balancing knows of its endpoint.
func (u *upstream) placed(ep *endpoint.Endpoint, now time.Time, row admin.Endpoint) admin.Endpoint {
	if d, ok := balance.Latency(ep, now); ok {
		row.Latency = admin.Duration(d)
	}
	if share := u.cluster.Endpoints().Rises(ep, now); share < 1 {
		row.Rising = share
	}
	if u.weighsLoad() {
		row.Reported = ep.Factor()
	}
	if u.loads != nil {
		row.LoadStream = cmp.Or(u.loads.State(ep), "open")
	}
	return row
}

// levelSamples show how the traffic of a cluster is shared, where that is not
// always the same.
func (u *upstream) levelSamples(emit func(record.Sample), name string) {
	_, st := u.standing(time.Now())
	if st == nil {
		return
	}
	for i := range st.Levels {
		l := &st.Levels[i]
		priority := strconv.Itoa(l.Priority)
		levelShare.sample(emit, l.Share, "cluster", name, "priority", priority)
		if l.Zones != nil {
			localShare.sample(emit, l.Local, "cluster", name, "priority", priority)
		}
		if u.spec.Spec.Panic.Below > 0 {
			value := 0.0
			if l.Panic {
				value = 1
			}
			panicking.sample(emit, value, "cluster", name, "priority", priority)
		}
	}
}
