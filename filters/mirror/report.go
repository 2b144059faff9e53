package mirror

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// What a report holds at most: places come from content.
const (
	maxPlaces = 200 // counted one by one
	topPlaces = 50  // shown
	maxRecent = 32
	perPair   = 5 // of one pair in recent
)

// The parts of a response.
const (
	partStatus = "status"
	partHeader = "header"
	partBody   = "body"
)

// difference is one place where two responses differ, without what stands there.
type difference struct {
	Part    string
	Place   string // the name of a field, or a pointer with "*" for numbers; "" the whole
	At      string // the same with numbers
	Kind    string
	Primary string
	Shadow  string
}

// report is what was found on a route about one shadow.
type report struct {
	equal        atomic.Int64
	uncomparable [numMissing]atomic.Int64

	mu        sync.Mutex // taken in the background only
	since     time.Time
	different int64
	places    map[placeKey]int64
	others    int64 // in places beyond maxPlaces
	recent    [maxRecent]recent
	next      int // of recent, which is a ring
}

// placeKey is what is counted together. The two statuses are part of it.
type placeKey struct{ part, place, kind, primary, shadow string }

type recent struct {
	Time    time.Time `json:"time"`
	ID      string    `json:"id"`
	Method  string    `json:"method"`
	Path    string    `json:"path"`
	Part    string    `json:"part"`
	At      string    `json:"at,omitempty"`
	Kind    string    `json:"kind"`
	Primary string    `json:"primary"`
	Shadow  string    `json:"shadow"`
}

func newReport() *report { return &report{since: time.Now(), places: map[placeKey]int64{}} }

// differ notes what was found about a pair. It is true for the first one.
func (r *report) differ(p *pair, found []difference) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.different++
	seen := map[placeKey]bool{} // a hundred elements that differ alike are one place
	for i, d := range found {
		key := placeKey{d.Part, d.Place, d.Kind, d.Primary, d.Shadow}
		if d.Part == partBody {
			key.primary, key.shadow = "", "" // "array of 3": as many as there are lengths
		}
		if !seen[key] {
			seen[key] = true
			r.count(key)
		}
		if i < perPair {
			r.recent[r.next] = recent{
				Time: time.Now(), ID: p.id, Method: p.method, Path: p.path,
				Part: d.Part, At: d.At, Kind: d.Kind, Primary: d.Primary, Shadow: d.Shadow,
			}
			r.next = (r.next + 1) % maxRecent
		}
	}
	return r.different == 1
}

func (r *report) count(key placeKey) {
	if _, known := r.places[key]; !known && len(r.places) >= maxPlaces {
		r.others++
		return
	}
	r.places[key]++
}

func (r *report) reset() {
	r.equal.Store(0)
	for i := range r.uncomparable {
		r.uncomparable[i].Store(0)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.since, r.different, r.others, r.next = time.Now(), 0, 0, 0
	r.recent = [maxRecent]recent{}
	clear(r.places)
}

// view is the report as operators see it.
type view struct {
	To           string           `json:"to"`
	Since        time.Time        `json:"since"`
	Equal        int64            `json:"equal"`
	Different    int64            `json:"different"`
	Uncomparable map[string]int64 `json:"uncomparable,omitempty"`
	Places       []placeView      `json:"places,omitempty"` // the most frequent first
	Others       int64            `json:"other_places,omitempty"`
	Recent       []recent         `json:"recent,omitempty"` // the newest first
}

type placeView struct {
	Count   int64  `json:"count"`
	Part    string `json:"part"`
	Place   string `json:"place,omitempty"`
	Kind    string `json:"kind"`
	Primary string `json:"primary,omitempty"`
	Shadow  string `json:"shadow,omitempty"`
}

func (r *report) view(to string) view {
	v := view{To: to, Equal: r.equal.Load()}
	for m := nothing + 1; m < numMissing; m++ {
		if n := r.uncomparable[m].Load(); n > 0 {
			if v.Uncomparable == nil {
				v.Uncomparable = map[string]int64{}
			}
			v.Uncomparable[missingNames[m]] = n
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	v.Since, v.Different, v.Others = r.since, r.different, r.others
	for k, n := range r.places {
		v.Places = append(v.Places, placeView{n, k.part, k.place, k.kind, k.primary, k.shadow})
	}
	slices.SortFunc(v.Places, func(a, b placeView) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Part, b.Part), cmp.Compare(a.Place, b.Place),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Primary, b.Primary), cmp.Compare(a.Shadow, b.Shadow))
	})
	for _, p := range v.Places[min(topPlaces, len(v.Places)):] {
		v.Others += p.Count
	}
	v.Places = v.Places[:min(topPlaces, len(v.Places))]
	for i := range r.recent {
		if d := r.recent[(r.next+maxRecent-1-i)%maxRecent]; !d.Time.IsZero() {
			v.Recent = append(v.Recent, d)
		}
	}
	return v
}

// reports are those of a route, which may have several shadows.
type reports struct {
	mu   sync.Mutex
	list []*opened
}

type opened struct {
	to, what string // what is compared
	report   *report
	users    []context.Context // of the filters that use it: of this generation, and of one that is being built
}

// open is the report about a shadow; it goes on as long as the same is compared.
func (r *reports) open(to, what string, ctx context.Context) *report {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = slices.DeleteFunc(r.list, func(o *opened) bool { return o.to == to && o.what != what })
	for _, o := range r.list {
		if o.to == to {
			o.users = append(slices.DeleteFunc(o.users, hasEnded), ctx)
			return o.report
		}
	}
	o := &opened{to: to, what: what, report: newReport(), users: []context.Context{ctx}}
	r.list = append(r.list, o)
	return o.report
}

// live are the reports of filters that run.
func (r *reports) live() []*opened {
	r.mu.Lock()
	defer r.mu.Unlock()
	var live []*opened
	for _, o := range r.list {
		if !slices.ContainsFunc(o.users, isLive) {
			continue
		}
		live = append(live, o)
	}
	return live
}

func hasEnded(ctx context.Context) bool { return ctx.Err() != nil }
func isLive(ctx context.Context) bool   { return ctx.Err() == nil }

func (r *reports) view() any {
	views := []view{}
	for _, o := range r.live() {
		views = append(views, o.report.view(o.to))
	}
	return views
}

// reset is the verb of that name.
func (r *reports) reset(context.Context, []byte) (any, error) {
	live := r.live()
	for _, o := range live {
		o.report.reset()
	}
	return map[string]int{"reports": len(live)}, nil
}
