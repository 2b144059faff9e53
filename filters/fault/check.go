package fault

import (
	"fmt"
	"strings"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/grpcstatus"
	"github.com/weirproxy/weir/stream"
)

// What the settings may hold.
const (
	longestDelay = 5 * time.Minute
	longestDrill = 7 * 24 * time.Hour
	maxBuckets   = 100
)

// check reports what is wrong with the settings.
func check(s *Settings, report *config.Report) {
	sum := 0.0
	if s.Delay != nil {
		s.Delay.check(report.Below("delay"), s.Header != "")
		sum += s.Delay.Share
	}
	if s.Abort != nil {
		s.Abort.check(report.Below("abort"), s.Header != "")
		sum += s.Abort.Share
	}
	if s.Delay == nil && s.Abort == nil {
		report.Errorf("", "write delay or abort, or remove the filter", "there is no fault to inject")
	}
	if s.Header != "" {
		checkHeader(report, "header", s.Header)
	}
	s.When.conditions(report.Below("when"))
	s.When.checkTime(report.Below("when"))
	s.Stop.check(report.Below("stop"), sum)
}

func (s *Stop) check(report *config.Report, sum float64) {
	switch after := time.Duration(s.After); {
	case after == 0:
		report.Errorf("after", "say when it ends: 30m, 1h", "faults that nobody ends are an outage")
	case after > longestDrill:
		report.Errorf("after", "write at most 7d, and change the settings to go on", "%s is longer than %s", s.After, config.Duration(longestDrill))
	}
	// Shares are written with a few digits: 0.1 and 0.2 are not more than 0.3.
	if sum > s.MaxShare+1e-9 {
		report.Errorf("max_share", "lower the shares, or raise max_share if that many requests may fail",
			"the shares add up to %.4g, more than max_share, %.4g", sum, s.MaxShare)
	}
}

func (d *Delay) check(report *config.Report, header bool) {
	checkShare(report, d.Share, header)
	longest := time.Duration(d.Max)
	if longest == 0 || longest > longestDelay {
		report.Errorf("max", "write at most 5m", "%s is no longest time to wait", d.Max)
		return
	}
	given := chosen(report, "delay", []form{
		{"fixed", d.Fixed != nil}, {"uniform", d.Uniform != nil}, {"normal", d.Normal != nil}, {"histogram", d.Histogram != nil},
	})
	within := func(path string, value config.Duration) {
		if time.Duration(value) > longest {
			report.Errorf(path, "shorten it, or raise delay.max", "%s is longer than delay.max, %s", value, d.Max)
		}
	}
	switch given {
	case "fixed":
		within("fixed", *d.Fixed)
		if *d.Fixed == 0 {
			report.Errorf("fixed", "write for example 200ms", "a delay of 0 delays nothing")
		}
	case "uniform":
		within("uniform.max", d.Uniform.Max)
		if d.Uniform.Min >= d.Uniform.Max {
			report.Errorf("uniform.min", "write less than max, or use fixed", "min, %s, is not less than max, %s", d.Uniform.Min, d.Uniform.Max)
		}
	case "normal":
		within("normal.mean", d.Normal.Mean)
		if d.Normal.Deviation == 0 {
			report.Errorf("normal.deviation", "write a time above 0, or use fixed", "without a deviation all delays are the same")
		}
	case "histogram":
		d.checkHistogram(report, within)
	}
}

func (d *Delay) checkHistogram(report *config.Report, within func(string, config.Duration)) {
	if n := len(d.Histogram); n == 0 || n > maxBuckets {
		report.Errorf("histogram", fmt.Sprintf("write 1 to %d buckets", maxBuckets), "the histogram has %d buckets", n)
		return
	}
	sum, before := 0, config.Duration(0)
	for i, b := range d.Histogram {
		at := fmt.Sprintf("histogram[%d].up_to", i)
		if b.UpTo <= before {
			report.Errorf(at, "order the buckets by up_to, each above the one before", "%s is not above %s, where the bucket begins", b.UpTo, before)
		}
		within(at, b.UpTo)
		sum, before = sum+b.Weight, b.UpTo
	}
	if sum == 0 {
		report.Errorf("histogram", "give a bucket a weight above 0", "no bucket has a weight")
	}
}

func (a *Abort) check(report *config.Report, header bool) {
	checkShare(report, a.Share, header)
	switch a.kind(report) {
	case byStatus:
		if a.Status < 400 || a.Status > 599 {
			report.Errorf("status", "write 400 to 599, such as 503", "%d is no status of a failure", a.Status)
		}
	case byGRPC:
		if _, ok := grpcstatus.Parse(grpcstatus.Prefix + a.GRPC); !ok {
			report.Errorf("grpc", "write for example unavailable, deadline-exceeded or 14", "%q is no status of a failure in gRPC", a.GRPC)
		}
	}
}

// kind is the one kind that is given; "" when there is none or more, which is
// reported. Who has checked the settings passes no report.
func (a *Abort) kind(report *config.Report) string {
	return chosen(report, "abort", []form{
		{byStatus, a.Status != 0}, {byGRPC, a.GRPC != ""}, {byReset, a.Reset}, {byHalfClose, a.HalfClose},
		{byTruncate, a.Truncate != nil}, {bySlow, a.Slow != nil},
	})
}

// form is one of several ways of which a document chooses one.
type form struct {
	name  string
	given bool
}

func chosen(report *config.Report, what string, forms []form) string {
	var all, given []string
	for _, f := range forms {
		all = append(all, f.name)
		if f.given {
			given = append(given, f.name)
		}
	}
	switch {
	case len(given) == 1:
		return given[0]
	case report == nil:
	case len(given) == 0:
		report.Errorf("", "write one of "+strings.Join(all, ", "), "%s does not say how", what)
	default:
		report.Errorf("", "keep one, or write a filter for each", "%s is said in %d ways: %s", what, len(given), strings.Join(given, ", "))
	}
	return ""
}

func checkShare(report *config.Report, share float64, header bool) {
	if share == 0 && !header {
		report.Errorf("share", "write a share above 0, such as 0.01, or let requests choose it by header", "a share of 0 is no request")
	}
}

// checkHeader refuses names that no request can have when it gets here.
func checkHeader(report *config.Report, path, name string) {
	field := stream.Field{Name: name, ID: stream.Lookup(name)}
	switch owner := stream.Owner(&field); {
	case !stream.IsToken(name):
		report.Errorf(path, `use letters, digits and "-"`, "%q cannot be the name of a field", name)
	case framing[field.ID]:
		report.Errorf(path, "use a name of your own, such as X-Fault", "%q belongs to the connection and is not seen by filters", name)
	case owner == stream.OwnedWritten || owner == stream.OwnedReserved:
		report.Errorf(path, "use a name of your own, such as X-Fault", "%q is Weir's: what clients send of it is removed", name)
	}
}

// framing are the fields that the codec takes out.
var framing = map[stream.ID]bool{
	stream.Connection: true, stream.ContentLength: true, stream.Expect: true, stream.HTTP2Settings: true, stream.Host: true,
	stream.KeepAlive: true, stream.ProxyConnection: true, stream.TE: true, stream.Trailer: true,
	stream.TransferEncoding: true, stream.Upgrade: true,
}
