package explain

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
)

// chooseListener finds the listener that a client of the URL would reach. With
// several, one of the same port comes first, then one where a route takes the
// request, then the first by name. nil, with Refused set, when none fits.
func (e *Explanation) chooseListener(s *snapshot.Snapshot, q *Query, u *url, stages Stages) (*snapshot.Listener, error) {
	e.Request = Request{Method: u.method, Scheme: u.scheme, Host: u.authority, Path: u.target, Query: u.query, Client: u.client.String()}
	if q.Listener != "" {
		return e.namedListener(s, q.Listener)
	}
	var fitting []*snapshot.Listener
	for _, l := range s.Listeners {
		if why := unfit(l, u); why != "" {
			e.OtherListeners = append(e.OtherListeners, OtherListener{l.Spec.Name, why})
			continue
		}
		fitting = append(fitting, l)
	}
	if len(fitting) == 0 {
		e.Refused = "no listener fits the URL"
		return nil, nil
	}
	slices.SortStableFunc(fitting, func(a, b *snapshot.Listener) int { return rank(s, a, u, stages) - rank(s, b, u, stages) })
	for _, l := range fitting[1:] {
		e.OtherListeners = append(e.OtherListeners, OtherListener{l.Spec.Name, "fits as well; ask for it by its name"})
	}
	e.take(fitting[0])
	return fitting[0], nil
}

func (e *Explanation) namedListener(s *snapshot.Snapshot, name string) (*snapshot.Listener, error) {
	var names []string
	for _, l := range s.Listeners {
		if l.Spec.Name == name {
			e.take(l)
			return l, nil
		}
		names = append(names, l.Spec.Name)
	}
	hint := config.Suggest(name, names)
	if hint == "" {
		hint = "there are " + strings.Join(names, ", ")
	}
	return nil, fmt.Errorf("there is no listener %q; %s", name, hint)
}

func (e *Explanation) take(l *snapshot.Listener) {
	e.Listener = &Listener{Name: l.Spec.Name, Address: l.Spec.Address, TLS: l.TLS != nil, Pos: place(l.Spec.Pos)}
	if l.TLS != nil && l.Spec.TLS.ClientCertificate.Mode == "require" {
		e.Notes = append(e.Notes, "the listener ends handshakes of clients without a certificate")
	}
}

// unknownName is why the handshake ends, or "": the listener may refuse names
// that none of its certificates covers.
func unknownName(l *snapshot.Listener, host string) string {
	if l.TLS == nil || l.Spec.TLS.UnknownName != "refuse" {
		return ""
	}
	_, parent, _ := strings.Cut(host, ".")
	for _, pair := range l.TLS.Certificates {
		if slices.Contains(pair.Names, host) || slices.Contains(pair.Names, "*."+parent) {
			return ""
		}
	}
	return fmt.Sprintf("no certificate covers %s, and the listener refuses unknown names", host)
}

// unfit is why a client of the URL does not reach the listener, or "". A URL
// without a port says nothing about the port: a load balancer may stand before.
func unfit(l *snapshot.Listener, u *url) string {
	if !takes(l, u) {
		return misplaced(l, u)
	}
	switch {
	case u.scheme == "https" && l.TLS == nil:
		return "serves no TLS, and the URL is https"
	case (u.scheme == "http" || u.scheme == "tcp") && l.TLS != nil && l.Spec.Protocol != "detect":
		return "serves TLS, and the URL is " + u.scheme
	}
	want := portOf(u.authority)
	switch have := listenerPort(l); {
	case want == "" || have == want:
		return ""
	case have == "":
		return "is a Unix socket, and the URL has a port"
	default:
		return fmt.Sprintf("listens on port %s, and the URL has %s", have, want)
	}
}

func misplaced(l *snapshot.Listener, u *url) string {
	return fmt.Sprintf("has protocol %s, and the question is about %s", l.Spec.Protocol, kindNames[u.kind])
}

// takes tells whether the protocol of a listener brings what is asked about. A
// TLS hello at a listener for HTTP may be passed on.
func takes(l *snapshot.Listener, u *url) bool {
	switch p := l.Spec.Protocol; u.kind {
	case connection:
		return p == "tcp" || p == "detect" || p == "http" && l.TLS != nil && u.scheme == "tls"
	case session:
		return p == "udp"
	default:
		return p != "tcp" && p != "udp" && p != "framed"
	}
}

// rank is lower for a listener that comes first.
func rank(s *snapshot.Snapshot, l *snapshot.Listener, u *url, stages Stages) int {
	n := 0
	if l.Network == "unix" { // clients with a URL rarely mean it
		n += 4
	}
	want := portOf(u.authority)
	if want == "" {
		want = map[string]string{"http": "80", "https": "443"}[u.scheme]
	}
	if listenerPort(l) != want {
		n += 2
	}
	trial := Explanation{}
	if req := trial.enter(s, u, l, stages); trial.Refused != "" || winner(stages.Find(l.Spec.Name, req)) == nil {
		n++
	}
	return n
}

// listenerPort is "" for a Unix socket.
func listenerPort(l *snapshot.Listener) string {
	if l.Network != "tcp" {
		return ""
	}
	return portOf(l.Address)
}

func portOf(authority string) string {
	_, port, err := net.SplitHostPort(authority)
	if err != nil {
		return ""
	}
	return port
}
