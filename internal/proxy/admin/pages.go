package admin

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"
)

// page is one line of the index.
type page struct{ pattern, link, what string }

var pages = []page{
	{"GET /live", "/live", "200 while the process runs"},
	{"GET /ready", "/ready", "200 once a configuration serves, 503 before and while draining"},
	{"GET /metrics", "/metrics", "metrics for Prometheus"},
	{"GET /snapshot", "/snapshot", "the configuration that runs, redacted"},
	{"GET /routes", "/routes?format=text", "routes in the order of precedence"},
	{"GET /clusters", "/clusters?format=text", "health and load of each endpoint"},
	{"GET /events", "/events?format=text", "the last changes of the health of endpoints, and why: ?cluster="},
	{"GET /connections", "/connections?format=text", "open client connections"},
	{"GET /geo", "/geo", "the databases that say where clients are"},
	{"GET /overload", "/overload?format=text", "what is done about overload and why, and for whom most is kept in memory"},
	{"GET /canaries", "/canaries", "what the canaries of routes are at, and what decides about them"},
	{"POST /canaries/{route}/{command}", "", "pause, resume, promote or rollback (Content-Type: application/json)"},
	{"GET /filters/{name}", "", "what a filter has to show, by route: /filters/cache"},
	{"POST /filters/{name}/{verb}", "", "what a filter does for operators, on all its routes or ?route= (Content-Type: application/json)"},
	{"GET /explain", "/explain?method=GET&url=http://localhost/&format=text", "the way of a request: ?method=&url=&header=Name:%20value&claim=name=value&client="},
	{"POST /reload", "", "read the documents again (Content-Type: application/json)"},
	{"GET /debug/pprof/", "/debug/pprof/", "profiles of the process"},
}

// Handler is all pages behind the guard.
func (s *Server) Handler() http.Handler {
	v := &s.cfg.Views
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.index)
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "live") })
	mux.HandleFunc("GET /ready", s.ready)
	if v.Metrics != nil {
		mux.Handle("GET /metrics", v.Metrics)
	}
	if v.Snapshot != nil {
		mux.HandleFunc("GET /snapshot", func(w http.ResponseWriter, r *http.Request) { s.show(w, r, v.Snapshot(), nil) })
	}
	if v.Routes != nil {
		mux.HandleFunc("GET /routes", func(w http.ResponseWriter, r *http.Request) {
			routes := v.Routes()
			s.show(w, r, routes, func(out *strings.Builder) { printRoutes(out, routes) })
		})
	}
	if v.Clusters != nil {
		mux.HandleFunc("GET /clusters", func(w http.ResponseWriter, r *http.Request) {
			clusters := v.Clusters()
			s.show(w, r, clusters, func(out *strings.Builder) { printClusters(out, clusters) })
		})
	}
	if v.Events != nil {
		mux.HandleFunc("GET /events", s.events)
	}
	if v.Connections != nil {
		mux.HandleFunc("GET /connections", s.connections)
	}
	if v.Places != nil {
		mux.HandleFunc("GET /geo", func(w http.ResponseWriter, r *http.Request) { s.show(w, r, v.Places(), nil) })
	}
	if v.Overload != nil {
		mux.HandleFunc("GET /overload", func(w http.ResponseWriter, r *http.Request) {
			state := v.Overload()
			s.show(w, r, state, func(out *strings.Builder) { printOverload(out, &state) })
		})
	}
	if v.Canaries != nil {
		mux.HandleFunc("GET /canaries", func(w http.ResponseWriter, r *http.Request) { s.show(w, r, v.Canaries(), nil) })
	}
	if v.CommandCanary != nil {
		mux.HandleFunc("POST /canaries/{route}/{command}", s.commandCanary)
	}
	if v.Filter != nil {
		mux.HandleFunc("GET /filters/{name}", s.filter)
	}
	if v.Operate != nil {
		mux.HandleFunc("POST /filters/{name}/{verb}", s.operate)
	}
	if v.Explain != nil {
		mux.HandleFunc("GET /explain", s.explain)
	}
	if v.Reload != nil {
		mux.HandleFunc("POST /reload", s.reload)
	}
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return s.guard(mux)
}

func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	var b strings.Builder
	b.WriteString("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Weir</title><h1>Weir " + html.EscapeString(s.cfg.Version) + "</h1><table>")
	for _, p := range pages {
		_, path, _ := strings.Cut(p.pattern, " ")
		name := html.EscapeString(p.pattern)
		if p.link != "" {
			name = `<a href="` + html.EscapeString(p.link) + `">` + html.EscapeString(path) + `</a>`
		}
		b.WriteString("<tr><td>" + name + "<td>" + html.EscapeString(p.what))
	}
	b.WriteString("</table></html>\n")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, b.String()) // a client that is gone
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if s.cfg.Views.Ready != nil {
		if err := s.cfg.Views.Ready(); err != nil {
			w.Header().Set("Retry-After", "1")
			say(w, http.StatusServiceUnavailable, "not ready: "+err.Error())
			return
		}
	}
	say(w, http.StatusOK, "ready")
}

// How many connections /connections shows.
const (
	shownConnections = 200
	mostConnections  = 10_000
)

func (s *Server) connections(w http.ResponseWriter, r *http.Request) {
	limit := shownConnections
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > mostConnections {
			fail(w, r, http.StatusBadRequest, fmt.Sprintf("limit %q is not a number from 1 to %d", text, mostConnections))
			return
		}
		limit = n
	}
	list := s.cfg.Views.Connections(limit)
	list.Shown = list.Shown[:min(len(list.Shown), limit)]
	s.show(w, r, list, func(out *strings.Builder) { printConnections(out, &list) })
}

func (s *Server) commandCanary(w http.ResponseWriter, r *http.Request) {
	state, err := s.cfg.Views.CommandCanary(r.Context(), r.PathValue("route"), r.PathValue("command"))
	if err != nil {
		fail(w, r, http.StatusUnprocessableEntity, s.policy().Text(err.Error()))
		return
	}
	s.show(w, r, state, nil)
}

func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	cluster := r.URL.Query().Get("cluster")
	events, ok := s.cfg.Views.Events(cluster)
	if !ok {
		fail(w, r, http.StatusNotFound, fmt.Sprintf("there is no cluster %q", cluster))
		return
	}
	s.show(w, r, events, func(out *strings.Builder) { printEvents(out, events) })
}

func (s *Server) filter(w http.ResponseWriter, r *http.Request) {
	view := s.cfg.Views.Filter(r.PathValue("name"))
	if view == nil {
		fail(w, r, http.StatusNotFound, "no route has a filter of that name that shows anything")
		return
	}
	s.show(w, r, view, nil)
}

func (s *Server) operate(w http.ResponseWriter, r *http.Request) {
	input, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil || len(input) > maxBody {
		fail(w, r, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes, or was cut", maxBody))
		return
	}
	result, err := s.cfg.Views.Operate(r.Context(), r.PathValue("name"), r.PathValue("verb"), r.URL.Query().Get("route"), input)
	if err != nil {
		fail(w, r, http.StatusUnprocessableEntity, s.policy().Text(err.Error()))
		return
	}
	s.show(w, r, result, nil)
}

func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	q := Question{Method: query.Get("method"), URL: query.Get("url"), Client: query.Get("client")}
	if q.URL == "" {
		fail(w, r, http.StatusBadRequest, "url is missing: /explain?method=GET&url=https://api.example.com/v1&header=Name:%20value&claim=name=value&client=192.0.2.1")
		return
	}
	if q.Method == "" {
		q.Method = http.MethodGet
	}
	for _, text := range query["header"] {
		name, value, ok := strings.Cut(text, ":")
		if !ok || name == "" {
			fail(w, r, http.StatusBadRequest, "a header is not of the form name: value")
			return
		}
		q.Header = append(q.Header, [2]string{name, strings.TrimSpace(value)})
	}
	for _, text := range query["claim"] {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			fail(w, r, http.StatusBadRequest, "a claim is not of the form name=value")
			return
		}
		q.Claims = append(q.Claims, [2]string{name, value})
	}
	explanation, err := s.cfg.Views.Explain(q)
	if err != nil {
		fail(w, r, http.StatusBadRequest, s.policy().Text(err.Error()))
		return
	}
	s.show(w, r, explanation.Data, func(out *strings.Builder) { out.WriteString(explanation.Text) })
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		fail(w, r, http.StatusRequestEntityTooLarge, "the body is too large; none is needed")
		return
	}
	result, err := s.cfg.Views.Reload(r.Context())
	status := http.StatusOK
	if err != nil || result.Problems.Errors() > 0 {
		status = http.StatusUnprocessableEntity
	}
	answer := struct {
		ReloadResult
		Error string `json:"error,omitempty"`
	}{ReloadResult: result}
	if err != nil {
		answer.Error = err.Error()
	}
	s.showStatus(w, r, status, answer, func(out *strings.Builder) { printReload(out, &result, err) })
}
