package record

import "strconv"

// Type is the type of a sample.
type Type uint8

// The types.
const (
	Gauge Type = iota
	Counter
)

// Sample is one number of another stage.
type Sample struct {
	Name   string // with weir_ in front; a counter ends in _total
	Help   string // the same for every sample of a name
	Type   Type
	Labels [][2]string // name and value; the same names for every sample of a name
	Value  float64
}

// Source gives the samples of a stage. It is called on each scrape, one scrape
// at a time, and must not block.
type Source func(emit func(Sample))

// Register adds a source for good.
func (r *Recorder) Register(source Source) {
	r.sources.Lock()
	defer r.sources.Unlock()
	r.sources.list = append(r.sources.list, source)
}

// samples asks every source. Series of a family beyond the budget are summed
// under the same labels with the value other. A series keeps its seat as long
// as it is emitted. scrape is held.
func (r *Recorder) samples() []Sample {
	r.sources.Lock()
	sources := r.sources.list[:len(r.sources.list):len(r.sources.list)]
	r.sources.Unlock()
	var order []string
	byFamily := map[string][]Sample{}
	emit := func(s Sample) {
		if _, known := byFamily[s.Name]; !known {
			order = append(order, s.Name)
		}
		byFamily[s.Name] = append(byFamily[s.Name], s)
	}
	for _, source := range sources {
		source(emit)
	}
	seats := make(map[string]map[string]bool, len(order))
	var all []Sample
	for _, name := range order {
		kept, seated := fold(byFamily[name], r.scrape.seats[name], max(1, r.scrape.maxSeries-1))
		all = append(all, kept...)
		seats[name] = seated
	}
	r.scrape.seats = seats
	return all
}

// fold keeps at most budget series: those with a seat first, then others in
// the order of emission. The rest is summed into one.
func fold(series []Sample, seats map[string]bool, budget int) (kept []Sample, seated map[string]bool) {
	keys := make([]string, len(series))
	seated = make(map[string]bool, len(series))
	for i, s := range series {
		keys[i] = key(s.Labels)
		if seats[keys[i]] && len(seated) < budget {
			seated[keys[i]] = true
		}
	}
	at := map[string]int{} // place in kept
	for i, s := range series {
		if !seated[keys[i]] && len(seated) < budget {
			seated[keys[i]] = true
		}
		if !seated[keys[i]] {
			s.Labels = foldedLabels(s.Labels)
			keys[i] = key(s.Labels)
		}
		if place, twice := at[keys[i]]; twice {
			kept[place].Value += s.Value
			continue
		}
		at[keys[i]] = len(kept)
		kept = append(kept, s)
	}
	return kept, seated
}

// key is length-prefixed, so that no value can imitate another label.
func key(labels [][2]string) string {
	var b []byte
	for _, label := range labels {
		for _, part := range label {
			b = append(strconv.AppendInt(b, int64(len(part)), 10), ':')
			b = append(b, part...)
		}
	}
	return string(b)
}

func foldedLabels(labels [][2]string) [][2]string {
	out := make([][2]string, len(labels))
	for i, label := range labels {
		out[i] = [2]string{label[0], otherName}
	}
	return out
}
