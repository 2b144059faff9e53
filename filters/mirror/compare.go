package mirror

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/internal/grpcstatus"
	"github.com/weirproxy/weir/internal/jsondiff"
	"github.com/weirproxy/weir/internal/jsonpointer"
)

// comparer compares the responses of a route.
type comparer struct {
	status   bool
	headers  []string
	json     bool
	ignore   jsonpointer.Set
	maxBody  int
	sample   float64
	patience time.Duration // how long the shadow's response is kept for the primary's
	budget   *budget
	spawn    func(func())
	report   *report
	log      *slog.Logger
	to       string

	equal, different, notCompared             *filter.Counter
	statusDiffers, headerDiffers, bodyDiffers *filter.Counter
}

func newComparer(s *Settings, env filter.Env, b *budget) (*comparer, error) {
	c := &comparer{
		status: s.Compare.Status, headers: s.Compare.Headers, maxBody: int(s.Compare.MaxBody), sample: s.Compare.Sample,
		patience: time.Duration(s.Timeout), budget: b, spawn: env.Go, log: env.Log, to: s.To,
	}
	if s.Compare.JSON != nil {
		var err error
		if c.ignore, err = jsonpointer.Parse(s.Compare.JSON.Ignore, false); err != nil {
			return nil, err
		}
		c.json = true
	}
	compared := func(outcome string) *filter.Counter {
		return env.Counter("weir_mirror_comparisons_total", "Pairs of responses, by outcome.", "cluster", s.To, "outcome", outcome)
	}
	c.equal, c.different, c.notCompared = compared("equal"), compared("different"), compared("uncomparable")
	differs := func(part string) *filter.Counter {
		return env.Counter("weir_mirror_differences_total", "Pairs of responses that differ in a part.", "cluster", s.To, "part", part)
	}
	c.statusDiffers, c.headerDiffers, c.bodyDiffers = differs("status"), differs("header"), differs("body")
	what, err := json.Marshal(s.Compare)
	if err != nil {
		return nil, fmt.Errorf("settings of compare: %w", err)
	}
	// It outlives generations: a reload does not begin the report anew.
	all := env.Keep("reports", func() any { return &reports{} }).(*reports)
	c.report = all.open(s.To, string(what), env.Context)
	env.Show(all.view)
	env.Operate("reset", all.reset)
	return c, nil
}

// drawn tells whether the responses to a request are compared.
func (c *comparer) drawn() bool { return c.sample >= 1 || rand.Float64() < c.sample }

// later compares on a goroutine of its own, if the budget has a place for it.
func (c *comparer) later(p *pair) {
	if !c.budget.enter() {
		p.free()
		c.uncomparable(noBudget)
		return
	}
	c.spawn(func() {
		defer c.budget.leave()
		c.judge(p)
	})
}

func (c *comparer) uncomparable(why missing) {
	c.notCompared.Add(1)
	c.report.uncomparable[why].Add(1)
}

// judge compares the responses of a pair that is over.
func (c *comparer) judge(p *pair) {
	defer p.free()
	found, why := c.differences(p.primary, p.shadow)
	switch {
	case len(found) > 0:
		c.different.Add(1)
		c.count(found)
		if d := &found[0]; c.report.differ(p, found) {
			c.log.Info("a response of the shadow differs; further ones are counted, see GET /filters/mirror", "cluster", c.to,
				"id", p.id, "part", d.Part, "at", d.At, "kind", d.Kind)
		}
	case why != nothing:
		c.uncomparable(why)
	default:
		c.equal.Add(1)
		c.report.equal.Add(1)
	}
}

func (c *comparer) count(found []difference) {
	var status, header, body int64
	for i := range found {
		switch found[i].Part {
		case partStatus:
			status = 1
		case partHeader:
			header = 1
		default:
			body = 1
		}
	}
	c.statusDiffers.Add(status)
	c.headerDiffers.Add(header)
	c.bodyDiffers.Add(body)
}

// differences are where two responses differ. why says that nothing differs as
// far as can be seen, and that not everything can be seen.
func (c *comparer) differences(primary, shadow *facts) (found []difference, why missing) {
	if c.status && primary.status != shadow.status { // the rest would differ for the same reason
		return []difference{{Part: partStatus, Kind: string(jsondiff.Value), Primary: strconv.Itoa(primary.status), Shadow: strconv.Itoa(shadow.status)}}, nothing
	}
	if c.status && primary.call != shadow.call {
		return []difference{{
			Part: partStatus, At: "grpc-status", Place: "grpc-status", Kind: string(jsondiff.Value), Primary: callName(primary.call), Shadow: callName(shadow.call),
		}}, nothing
	}
	for i, name := range c.headers {
		if primary.headers[i] == shadow.headers[i] && primary.has[i] == shadow.has[i] {
			continue
		}
		d := difference{Part: partHeader, At: name, Place: name, Kind: string(jsondiff.Value), Primary: "a value", Shadow: "a value"}
		switch {
		case !shadow.has[i]:
			d.Kind, d.Shadow = string(jsondiff.Missing), "nothing"
		case !primary.has[i]:
			d.Kind, d.Primary = string(jsondiff.Extra), "nothing"
		}
		found = append(found, d)
	}
	if !c.json || primary.call != noStatus {
		return found, nothing
	}
	body, why := c.bodies(primary, shadow)
	return append(found, body...), why
}

func (c *comparer) bodies(primary, shadow *facts) (found []difference, why missing) {
	a, b := primary.bodyMissing, shadow.bodyMissing
	switch {
	case a == nothing && b == notJSON, a == notJSON && b == nothing:
		return []difference{{Part: partBody, Kind: string(jsondiff.Type), Primary: typeName(a), Shadow: typeName(b)}}, nothing
	case a != nothing:
		return nil, a
	case b != nothing:
		return nil, b
	}
	first, second := primary.body.bytes, shadow.body.bytes
	switch {
	case len(first) == 0 && len(second) == 0:
		return nil, nothing
	case len(first) == 0:
		return []difference{{Part: partBody, Kind: string(jsondiff.Extra), Primary: "nothing", Shadow: typeName(b)}}, nothing
	case len(second) == 0:
		return []difference{{Part: partBody, Kind: string(jsondiff.Missing), Primary: typeName(a), Shadow: "nothing"}}, nothing
	}
	places, err := jsondiff.Compare(first, second, c.ignore)
	if err != nil {
		return nil, notJSON
	}
	for _, d := range places {
		found = append(found, difference{Part: partBody, At: d.At, Place: d.Path, Kind: string(d.Kind), Primary: d.First, Shadow: d.Second})
	}
	return found, nothing
}

// callName is a status of gRPC in a word.
func callName(code int) string {
	if code == noStatus {
		return "none"
	}
	return grpcstatus.Name(uint8(code)) //nolint:gosec // it was read from 0 to 254
}

func typeName(m missing) string {
	if m == notJSON {
		return "not JSON"
	}
	return "JSON"
}
