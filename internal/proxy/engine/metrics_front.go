package engine

import (
	"time"

	"github.com/weirproxy/weir/internal/proxy/detect"
	"github.com/weirproxy/weir/internal/proxy/http2"
	"github.com/weirproxy/weir/internal/proxy/record"
	"github.com/weirproxy/weir/internal/proxy/tcp"
	"github.com/weirproxy/weir/internal/proxy/tlsedge"
)

var (
	connsOpen     = gauge("weir_listener_connections", "Open connections.")
	connsAccepted = counter("weir_listener_accepted_total", "Connections accepted.")
	connsRefused  = counter("weir_listener_refused_total", "Connections closed at once, by the limit that was reached.")
	acceptErrors  = counter("weir_listener_accept_errors_total", "Failed accept calls.")
	connPanics    = counter("weir_listener_panics_total", "Connections that ended with a panic.")

	http1Events    = counter("weir_http1_events_total", "Upgrades, drained connections and panics of HTTP/1 connections.")
	http1Malformed = counter("weir_http1_malformed_total", "Requests that could not be read, by reason word.")
	http2Events    = counter("weir_http2_events_total", "What happened on HTTP/2 connections with clients.")
	http2Malformed = counter("weir_http2_malformed_total", "Requests of HTTP/2 that could not be read, by reason word.")
	http2GoAways   = counter("weir_http2_goaways_total", "HTTP/2 connections that were ended here, by error code.")
	http3Open      = gauge("weir_http3_connections", "Open HTTP/3 connections.")
	http3Events    = counter("weir_http3_events_total", "What happened on HTTP/3 connections with clients.")
	http3Malformed = counter("weir_http3_malformed_total", "Requests of HTTP/3 that could not be read, by reason word.")
	websocketsOpen = gauge("weir_websocket_connections", "Open WebSockets.")
	websocketEnds  = counter("weir_websocket_events_total", "WebSockets opened, told that the proxy goes away, and cut for not answering that.")
	tcpOpen        = gauge("weir_tcp_connections", "Open connections that are carried without looking into them.")
	tcpEvents      = counter("weir_tcp_events_total", "Connections that found an upstream, that were cut, and that panicked.")
	tcpBytes       = counter("weir_tcp_bytes_total", "Bytes of connections that ended, by direction; spliced: those of both that were not copied.")
	tcpFaults      = counter("weir_tcp_faults_total", "Connections that ended by a fault, by reason word.")
	udpOpen        = gauge("weir_udp_sessions", "Open sessions.")
	udpEvents      = counter("weir_udp_events_total", "Sessions opened and failed, and datagrams that were dropped, by reason.")
	udpDatagrams   = counter("weir_udp_datagrams_total", "Datagrams from and to clients.")
	udpBytes       = counter("weir_udp_bytes_total", "Bytes of datagrams from and to clients.")
	framedEvents   = counter("weir_framed_events_total", "Error frames and panics of connections that carry frames.")
	framedBad      = counter("weir_framed_malformed_total", "Frames that could not be read, by reason word.")
	detectEvents   = counter("weir_detect_events_total", "What came before the protocol: PROXY headers, hellos of TLS that were read, and what clients turned out to speak.")
	connectEvents  = counter("weir_connect_events_total", "Tunnels to where clients asked for, by outcome.")
	entryEvents    = counter("weir_entry_events_total", "Fields removed because their peer may not write them, and loops found.")
	routeRefused   = counter("weir_route_refused_total", "Requests without a route, or that a route refused for their connection.")
	routesServed   = gauge("weir_route_table_routes", "Routes in the table of a listener.")

	tlsHandshakes = counter("weir_tls_handshakes_total", "Handshakes with clients that succeeded, by whether they resumed a session.")
	tlsFailed     = counter("weir_tls_handshake_failures_total", "Handshakes with clients that failed, by reason.")
	tlsUnderway   = gauge("weir_tls_handshakes_underway", "Handshakes with clients under way.")
	tlsExpiry     = gauge("weir_tls_certificate_expiry_days", "Days until a certificate expires; negative once it has.")
	tlsUpdates    = counter("weir_tls_updates_total", "Changes of certificates or trust, by whether they were taken over.")
)

func (e *Engine) frontSamples(emit func(record.Sample)) {
	g := e.running.Load()
	if g == nil {
		return
	}
	for name, f := range g.fronts {
		f.samples(emit, name)
	}
	for name, svc := range g.services {
		if svc.forward != nil {
			svc.forward.samples(emit, name)
		}
	}
}

func (f *front) samples(emit func(record.Sample), name string) {
	if f.ln != nil {
		s := &f.ln.Stats
		connsOpen.sample(emit, float64(s.Open.Load()), "listener", name)
		connsAccepted.sample(emit, float64(s.Accepted.Load()), "listener", name)
		connsRefused.each(emit, []counted{{"max_connections", &s.RefusedFull}, {"max_connections_per_client", &s.RefusedClient}, {"overload", &s.RefusedBusy}}, "limit", "listener", name)
		acceptErrors.sample(emit, float64(s.AcceptErrors.Load()), "listener", name)
		connPanics.sample(emit, float64(s.Panics.Load()), "listener", name)
	}
	f.codecSamples(emit, name)
	if f.tls != nil {
		tlsSamples(emit, f.tls, name)
	}
	if d := f.packets(); d != nil {
		d.samples(emit, name)
	}
}

// codecSamples are those of the codecs and the stages around them. They begin
// anew when the limits of the listener change.
func (f *front) codecSamples(emit func(record.Sample), name string) {
	s := f.server.Load()
	if s.http1 != nil {
		x := &s.http1.Stats
		http1Events.each(emit, []counted{{"upgrade", &x.Upgrades}, {"drained", &x.Drained}, {"panic", &x.Panics}, {"cut", &x.Cut}, {"http2", &x.HTTP2}, {"answer_panic", &s.answer.Stats().Panics}},
			"event", "listener", name)
		http1Malformed.eachKind(emit, &x.Refused, "listener", name)
	}
	if s.http2 != nil {
		http2Samples(emit, &s.http2.Stats, name)
	}
	if s.tcp != nil && (s.protocol != "http" || s.tcp.Stats.Opened.Load() > 0) { // of http only where TLS is passed on
		tcpSamples(emit, &s.tcp.Stats, name)
	}
	if s.framed != nil {
		framedEvents.each(emit, []counted{{"error", &s.framed.Stats.Errors}, {"drained", &s.framed.Stats.Drained}, {"panic", &s.framed.Stats.Panics}}, "event", "listener", name)
		framedBad.eachKind(emit, &s.framed.Stats.Refused, "listener", name)
	}
	es := s.entry.Stats()
	entryEvents.each(emit, []counted{{"stripped", &es.Stripped}, {"loop", &es.Loops}}, "event", "listener", name)
	detectSamples(emit, &s.detect.Stats, name)
	ws := f.sockets.Stats()
	websocketsOpen.sample(emit, float64(ws.Open.Load()), "listener", name)
	websocketEnds.each(emit, []counted{{"opened", &ws.Opened}, {"told", &ws.ClosedByDrain}, {"forced", &ws.Forced}, {"panic", &ws.Panics}}, "event", "listener", name)
	rs := f.router.Stats()
	routeRefused.each(emit, []counted{
		{"no_route", &rs.NoRoute}, {"misdirected", &rs.Misdirected}, {"forbidden", &rs.Forbidden}, {"no_connect", &rs.NoConnect}, {"too_early", &rs.TooEarly}, {"overload", &rs.Shed},
	}, "reason", "listener", name)
	routesServed.sample(emit, float64(f.router.Table().Len()), "listener", name)
}

func http2Samples(emit func(record.Sample), s *http2.Stats, name string) {
	http2Events.each(emit, []counted{
		{"opened", &s.Opened}, {"upgrade", &s.Upgrades}, {"drained", &s.Drained}, {"panic", &s.Panics}, {"cut", &s.Cut}, {"reset_in", &s.ResetsIn},
		{"reset_out", &s.ResetsOut}, {"refused_stream", &s.RefusedStreams}, {"abuse", &s.AbuseCloses},
	}, "event", "listener", name)
	http2Malformed.eachKind(emit, &s.Refused, "listener", name)
	for code := range s.GoAways {
		if n := s.GoAways[code].Load(); n > 0 {
			http2GoAways.sample(emit, float64(n), "listener", name, "code", http2.GoAwayReason(code))
		}
	}
}

func tcpSamples(emit func(record.Sample), s *tcp.Stats, name string) {
	tcpOpen.sample(emit, float64(s.Open.Load()), "listener", name)
	tcpEvents.each(emit, []counted{{"opened", &s.Opened}, {"relayed", &s.Relayed}, {"cut", &s.Cut}, {"panic", &s.Panics}}, "event", "listener", name)
	tcpBytes.each(emit, []counted{{"in", &s.BytesIn}, {"out", &s.BytesOut}, {"spliced", &s.Spliced}}, "direction", "listener", name)
	tcpFaults.eachKind(emit, &s.Faults, "listener", name)
}

func detectSamples(emit func(record.Sample), s *detect.Stats, name string) {
	detectEvents.each(emit, []counted{
		{"proxy_read", &s.ProxyRead}, {"proxy_local", &s.ProxyLocal}, {"proxy_direct", &s.ProxyDirect}, {"proxy_refused", &s.ProxyRefused}, {"proxy_bad", &s.ProxyBad},
		{"hello_read", &s.HelloRead}, {"hello_none", &s.HelloNone}, {"hello_bad", &s.HelloBad}, {"quiet", &s.Quiet}, {"timed_out", &s.TimedOut}, {"gone", &s.Gone},
	}, "event", "listener", name)
	for p := range detect.NumProtocols {
		detectEvents.sample(emit, float64(s.Detected[p].Load()), "listener", name, "event", "detected_"+p.String())
	}
}

// samples are those of a UDP socket.
func (d *datagrams) samples(emit func(record.Sample), name string) {
	if d.sessions != nil {
		s := &d.sessions.Stats
		udpOpen.sample(emit, float64(s.Open.Load()), "listener", name)
		udpEvents.each(emit, []counted{
			{"opened", &s.Opened}, {"failed", &s.Failed}, {"panic", &s.Panics}, {"max_connections", &s.RefusedFull}, {"max_connections_per_client", &s.RefusedClient},
			{"draining", &s.RefusedDrain}, {"overload", &s.RefusedBusy}, {"overflowed", &s.Overflowed}, {"undelivered", &s.Undelivered}, {"write_error", &s.WriteErrors}, {"read_error", &s.ReadErrors},
		}, "event", "listener", name)
		udpDatagrams.each(emit, []counted{{"in", &s.DatagramsIn}, {"out", &s.DatagramsOut}}, "direction", "listener", name)
		udpBytes.each(emit, []counted{{"in", &s.BytesIn}, {"out", &s.BytesOut}}, "direction", "listener", name)
		return
	}
	s := &d.http3.Stats
	http3Open.sample(emit, float64(s.Open.Load()), "listener", name)
	http3Events.each(emit, []counted{
		{"opened", &s.Opened}, {"retry", &s.Retries}, {"max_connections", &s.Turned}, {"max_connections_per_client", &s.TurnedOne}, {"overload", &s.TurnedBusy}, {"panic", &s.Panics},
		{"upgrade", &s.Upgrades}, {"drained", &s.Drained}, {"cut", &s.Cut}, {"reset_in", &s.Resets}, {"abuse", &s.Abusive}, {"broken", &s.Broken}, {"early", &s.Early},
	}, "event", "listener", name)
	http3Malformed.eachKind(emit, &s.Refused, "listener", name)
}

// samples are those of a route with connect.target.
func (f *forward) samples(emit func(record.Sample), route string) {
	s, d := &f.forward.Stats, &f.dialer.Stats
	connectEvents.each(emit, []counted{
		{"opened", &s.Opened}, {"failed", &s.Failed}, {"port_refused", &s.Refused}, {"address_refused", &d.Refused}, {"unresolved", &d.Unresolved},
	}, "event", "route", route)
}

func tlsSamples(emit func(record.Sample), t *tlsedge.Server, name string) {
	s := &t.Stats
	done, resumed := s.Done.Load(), s.Resumed.Load()
	tlsHandshakes.sample(emit, float64(done-resumed), "listener", name, "resumed", "no")
	tlsHandshakes.sample(emit, float64(resumed), "listener", name, "resumed", "yes")
	for reason := range tlsedge.NumReasons {
		tlsFailed.sample(emit, float64(s.Failed[reason].Load()), "listener", name, "reason", reason.String())
	}
	tlsUnderway.sample(emit, float64(s.Underway.Load()), "listener", name)
	tlsUpdates.each(emit, []counted{{"applied", &s.Updates}, {"rejected", &s.Rejected}}, "result", "listener", name)
	for _, x := range t.Expiries(time.Now()) {
		tlsExpiry.sample(emit, x.Days, "listener", name, "certificate", x.Name)
	}
}
