package admin

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/weirproxy/weir/internal/redact"
)

func (s *Server) policy() *redact.Policy {
	if s.cfg.Views.Policy == nil {
		return nil
	}
	return s.cfg.Views.Policy()
}

// show answers with data as JSON, or as what text prints when people ask; a
// nil text is the JSON, indented. Either passes the redaction.
func (s *Server) show(w http.ResponseWriter, r *http.Request, data any, text func(*strings.Builder)) {
	s.showStatus(w, r, http.StatusOK, data, text)
}

func (s *Server) showStatus(w http.ResponseWriter, r *http.Request, status int, data any, text func(*strings.Builder)) {
	human := wantsText(r)
	if human && text != nil {
		var page strings.Builder
		text(&page)
		answer(w, status, "text/plain; charset=utf-8", []byte(redactLines(s.policy(), page.String())))
		return
	}
	encoded, err := json.Marshal(data)
	if err == nil {
		encoded, err = s.policy().JSON(encoded)
	}
	if err != nil {
		s.cfg.Log.Error("an admin page cannot be encoded", "path", r.URL.Path, "err", err)
		fail(w, r, http.StatusInternalServerError, "the page cannot be encoded; the log says why")
		return
	}
	if human {
		var indented bytes.Buffer
		if json.Indent(&indented, encoded, "", "  ") == nil {
			encoded = indented.Bytes()
		}
	}
	answer(w, status, "application/json", append(encoded, '\n'))
}

// redactLines treats each line by itself, as headers in explanations stand.
func redactLines(p *redact.Policy, text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		body := strings.TrimRight(line, "\n")
		out.WriteString(p.Line(body))
		out.WriteString(line[len(body):])
	}
	return out.String()
}

// wantsText tells whether people ask: by ?format=, else by Accept. Tools that
// accept anything get JSON.
func wantsText(r *http.Request) bool {
	switch r.URL.Query().Get("format") {
	case "text":
		return true
	case "json":
		return false
	}
	accept := r.Header.Get("Accept")
	if strings.Contains(accept, "application/json") {
		return false
	}
	return strings.Contains(accept, "text/plain") || strings.Contains(accept, "text/html")
}

// fail answers with an error in the form that was asked for.
func fail(w http.ResponseWriter, r *http.Request, status int, what string) {
	if wantsText(r) {
		say(w, status, what)
		return
	}
	encoded, err := json.Marshal(struct {
		Error string `json:"error"`
	}{what})
	if err != nil {
		encoded = []byte("{}")
	}
	answer(w, status, "application/json", append(encoded, '\n'))
}

func say(w http.ResponseWriter, status int, line string) {
	answer(w, status, "text/plain; charset=utf-8", []byte(printable(line)+"\n"))
}

func answer(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that is gone
}

func quote(s string) string {
	const most = 256
	return strconv.Quote(s[:min(len(s), most)])
}
