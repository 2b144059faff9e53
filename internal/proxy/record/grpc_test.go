package record

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirproxy/weir/stream"
)

// grpcCall is a call that an upstream answered with that status; below 0: it
// answered with none.
func grpcCall(r *Recorder, service string, status int) *stream.Request {
	req := exchange(r)
	req.Method, req.GRPC = "POST", stream.GRPCCall
	req.Target.Path = "/" + service + "/Get"
	req.Exchange.GRPCStatus = uint8(status + 1)
	return req
}

func TestGRPCFields(t *testing.T) {
	for _, c := range []struct {
		path            string
		kind            stream.GRPC
		status          uint8
		service, method any
		name            any
	}{
		{"/shop.Orders/Get", stream.GRPCCall, 15, "shop.Orders", "Get", "UNAVAILABLE"},
		{"/shop.Orders/Get", stream.GRPCWebText, 1, "shop.Orders", "Get", "OK"},
		{"/shop.Orders/Get", stream.GRPCCall, 0, "shop.Orders", "Get", nil},
		{"/shop.Orders/Get", stream.GRPCCall, 100, "shop.Orders", "Get", "99"},
		{"/shop.Orders/Get", stream.NotGRPC, 15, nil, nil, nil},
		{"/v1/shop.Orders/Get", stream.GRPCCall, 1, nil, nil, "OK"},
		{"/Get", stream.GRPCCall, 13, nil, nil, "UNIMPLEMENTED"},
		{"/", stream.GRPCCall, 13, nil, nil, "UNIMPLEMENTED"},
		{"", stream.GRPCCall, 13, nil, nil, "UNIMPLEMENTED"},
	} {
		req := full()
		req.Target.Path, req.GRPC, req.Exchange.GRPCStatus = c.path, c.kind, c.status
		got := parse(t, lines(t, toStdout(nil), req)[0])
		if got["grpc_service"] != c.service || got["grpc_method"] != c.method || got["grpc_status"] != c.name {
			t.Errorf("%s, kind %d, status %d: %v, %v, %v", c.path, c.kind, c.status, got["grpc_service"], got["grpc_method"], got["grpc_status"])
		}
	}
	cfg := toStdout(nil)
	cfg.AccessLog.Format, cfg.AccessLog.Template = "text", "{grpc_service} {grpc_method} {grpc_status}"
	if got := lines(t, cfg, grpcCall(nil, "shop.Orders", 4), exchange(nil)); got[0] != "shop.Orders Get DEADLINE_EXCEEDED" || got[1] != "- - -" {
		t.Errorf("text %q", got)
	}
}

// TestGRPCBehindARewrite: the service is the one that the upstream was asked for.
func TestGRPCBehindARewrite(t *testing.T) {
	req := grpcCall(nil, "shop.Orders", 0)
	req.Exchange.Received = stream.Target{Path: "/api/shop.Orders/Get"}
	got := parse(t, lines(t, toStdout(nil), req)[0])
	if got["path"] != "/api/shop.Orders/Get" || got["grpc_service"] != "shop.Orders" {
		t.Errorf("path %v, service %v", got["path"], got["grpc_service"])
	}
}

// TestConnectionsAndSessions: a line of what is not HTTP has nothing of HTTP.
func TestConnectionsAndSessions(t *testing.T) {
	for _, c := range []struct {
		proto stream.Proto
		hello *stream.Hello
		want  string
	}{
		{stream.TCP, &stream.Hello{ServerName: "db.example.com"}, `"host":"db.example.com","protocol":"TCP",`},
		{stream.TCP, nil, `"protocol":"TCP",`},
		{stream.UDP, nil, `"protocol":"UDP",`},
	} {
		req := &stream.Request{
			Proto: c.proto, Body: stream.NoBody, Client: netip.MustParseAddr("192.0.2.7"), ID: "s-1",
			Conn: &stream.Conn{ID: 1, Listener: "db", Remote: netip.MustParseAddrPort("192.0.2.7:51234"), Hello: c.hello},
			Exchange: stream.Exchange{
				Start: start, HeadRead: start, UpstreamStart: start, UpstreamHead: start.Add(time.Millisecond), HeadSent: start.Add(time.Millisecond),
				UpstreamEnd: start.Add(time.Minute), End: start.Add(time.Minute), Status: 200, UpstreamStatus: 200, BytesIn: 10, BytesOut: 2000,
				Endpoint: "10.0.0.1:5432", Attempts: 1,
			},
		}
		name := ""
		if c.hello != nil {
			req.Target.Host, name = c.hello.ServerName, `,"server_name":"db.example.com"`
		}
		want := `{"time":"2026-05-01T12:00:00.123Z","id":"s-1","listener":"db","route":"payments","cluster":"payments-v1","endpoint":"10.0.0.1:5432",` +
			`"client":"192.0.2.7","peer":"192.0.2.7:51234",` + c.want + `"status":200,"attempts":1,"upstream_status":200,"bytes_in":10,"bytes_out":2000,` +
			`"duration_ms":60000.000,"proxy_ms":0.000,"upstream_ms":60000.000,"upstream_head_ms":1.000` + name + `}`
		if got := lines(t, toStdout(nil), req)[0]; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func series(route, cluster, service, code string) string {
	return fmt.Sprintf("weir_grpc_requests_total{cluster=%q,code=%q,route=%q,service=%q}", cluster, code, route, service)
}

// TestGRPCMetrics: a service has a name once an upstream has answered for it.
func TestGRPCMetrics(t *testing.T) {
	r := newRecorder(t, metricsOnly(1000))
	refused := func(service string) *stream.Request { // by Weir
		req := grpcCall(r, service, 14)
		req.Exchange.UpstreamStatus, req.Exchange.Fault = 0, &stream.Fault{Kind: stream.ConnectRefused}
		return req
	}
	unrouted := grpcCall(r, "shop.Orders", 12)
	unrouted.Exchange = stream.Exchange{Start: start, End: start, Status: 200, GRPCStatus: 13, Fault: &stream.Fault{Kind: stream.NoRoute}}
	odd := grpcCall(r, "shop.Orders", 0)
	odd.Target.Path = "/a/b/c"
	for _, req := range []*stream.Request{
		refused("shop.Orders"),           // not known yet
		grpcCall(r, "made.up", 12),       // never known
		grpcCall(r, "made.up2", -1),      // answered with a page
		grpcCall(r, "shop.Orders", 0),    // known from here
		grpcCall(r, "shop.Orders", 0),    //
		grpcCall(r, "shop.Orders", 5),    //
		grpcCall(r, "shop.Orders", 12),   // an old server
		grpcCall(r, "shop.Orders", -1),   // cut
		grpcCall(r, "shop.Orders", 99),   // a number of its own
		refused("shop.Orders"), unrouted, // ours, under its name
		grpcCall(r, strings.Repeat("x", 300), 0), odd,
		exchange(r), // no call
	} {
		r.Done(req)
	}
	page := scrape(t, r, "")
	for s, want := range map[string]float64{
		series("payments", "payments-v1", "shop.Orders", "OK"):            2,
		series("payments", "payments-v1", "shop.Orders", "NOT_FOUND"):     1,
		series("payments", "payments-v1", "shop.Orders", "UNIMPLEMENTED"): 1,
		series("payments", "payments-v1", "shop.Orders", "none"):          1,
		series("payments", "payments-v1", "shop.Orders", "other"):         1,
		series("payments", "payments-v1", "shop.Orders", "UNAVAILABLE"):   1,
		series("none", "none", "shop.Orders", "UNIMPLEMENTED"):            1,
		series("other", "other", "other", "UNAVAILABLE"):                  1,
		series("other", "other", "other", "UNIMPLEMENTED"):                1,
		series("other", "other", "other", "none"):                         1,
		series("other", "other", "other", "OK"):                           2,
	} {
		if got := seriesValue(t, page, s); got != want {
			t.Errorf("%s is %v, want %v", s, got, want)
		}
	}
	if strings.Contains(page, "made.up") || strings.Count(page, "\nweir_grpc_requests_total{") != 11 {
		t.Error("a name that a client made up has a series, or there are others")
	}
}

// TestGRPCBudget: the number of series is bounded, whatever upstreams answer,
// and the sum is exact, also when routes come and go.
func TestGRPCBudget(t *testing.T) {
	const maxSeries = 60
	r := newRecorder(t, metricsOnly(maxSeries))
	random := rand.New(rand.NewPCG(1, 2))
	want := 0
	check := func() string {
		t.Helper()
		page := scrape(t, r, "")
		count, sum := 0, 0.0
		for line := range strings.Lines(page) {
			if name, value, ok := strings.Cut(line, " "); ok && strings.HasPrefix(name, "weir_grpc_requests_total{") {
				var n float64
				if _, err := fmt.Sscan(value, &n); err != nil {
					t.Fatal(err)
				}
				if strings.Contains(name, `""`) {
					t.Errorf("a label is empty: %s", name)
				}
				count, sum = count+1, sum+n
			}
		}
		if count > maxSeries || sum != float64(want) {
			t.Errorf("%d series with %v calls, want at most %d with %d", count, sum, maxSeries, want)
		}
		return page
	}
	for round := range 5 {
		routes := []string{fmt.Sprint("a-", round), fmt.Sprint("b-", round)}
		for i := range 2000 {
			req := grpcCall(r, fmt.Sprint("s.", random.IntN(40)), random.IntN(19)-1)
			req.Exchange.Route, req.Exchange.Cluster = r.RouteLabel(routes[i%2]), r.ClusterLabel("c")
			req.Conn = &stream.Conn{ID: uint64(i)}
			r.Done(req)
			want++
		}
		if page := check(); !strings.Contains(page, fmt.Sprintf("route=%q,service=\"s.", routes[0])) {
			t.Errorf("round %d: what is new gets no series although the old is gone", round)
		}
		old := grpcCall(r, "s.1", 0)
		old.Exchange.Route, old.Exchange.Cluster = r.RouteLabel(routes[0]), r.ClusterLabel("c")
		r.Retain(nil, []string{"c"})
		if page := check(); strings.Contains(page, `route="a-`) {
			t.Error("a route that is gone keeps its series")
		}
		r.Done(old) // of the old generation
		want++
	}
}

// TestGRPCRetainUnderLoad: nothing is lost or counted twice while routes go.
func TestGRPCRetainUnderLoad(t *testing.T) {
	r := newRecorder(t, metricsOnly(200))
	var wg sync.WaitGroup
	const each, workers = 2000, 4
	for id := range uint64(workers) {
		wg.Go(func() {
			for i := range each {
				req := grpcCall(r, fmt.Sprint("s.", i%7), i%3)
				req.Exchange.Route = r.RouteLabel(fmt.Sprint("r-", i/100))
				req.Conn = &stream.Conn{ID: id}
				r.Done(req)
			}
		})
	}
	for i := range 20 {
		r.Retain([]string{fmt.Sprint("r-", i)}, []string{"payments-v1"})
		_, _ = io.WriteString(io.Discard, scrape(t, r, ""))
	}
	wg.Wait()
	sum := 0.0
	for line := range strings.Lines(scrape(t, r, "")) {
		if rest, ok := strings.CutPrefix(line, "weir_grpc_requests_total{"); ok {
			var n float64
			if _, err := fmt.Sscan(rest[strings.LastIndexByte(rest, ' ')+1:], &n); err != nil {
				t.Fatal(err)
			}
			sum += n
		}
	}
	if sum != each*workers {
		t.Errorf("%v calls counted, want %d", sum, each*workers)
	}
}
