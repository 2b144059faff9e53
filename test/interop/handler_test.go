package interop

import (
	"io"
	"net/http"
	"strconv"
	"strings"
)

// What the well-behaved upstreams say.
const (
	content   = "what an upstream says"
	beginning = "begun"
)

// serveFine does what the case asks for.
func serveFine(w http.ResponseWriter, r *http.Request, left *departures) {
	switch last(r.URL.Path) {
	case "plain":
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = io.WriteString(w, content)
	case "nothing":
		w.WriteHeader(http.StatusNoContent)
	case "echo": // as it comes
		if r.ProtoMajor == 1 {
			_ = http.NewResponseController(w).EnableFullDuplex() // HTTP/1 of Go reads to the end first otherwise
		}
		_, _ = io.Copy(flushing{w}, r.Body)
	case "trailers":
		w.Header().Set("Trailer", "X-Check")
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("X-Seen", strings.TrimSpace(string(body)+" "+r.Trailer.Get("X-Sum")))
		_, _ = io.WriteString(flushing{w}, content) // before the library counts it: HTTP/1 has no trailer behind a declared length
		w.Header().Set("X-Check", "checked")
	case "interim":
		for _, link := range []string{"</a.css>", "</b.css>"} {
			w.Header().Set("Link", link)
			w.WriteHeader(http.StatusEarlyHints)
		}
		w.Header().Del("Link")
		_, _ = io.WriteString(w, content)
	case "early": // without a look at the body
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, content)
	case "leave":
		_, _ = io.WriteString(flushing{w}, beginning)
		<-r.Context().Done()
		close(left.of(r.Header.Get("X-Exchange")))
	default:
		http.NotFound(w, r)
	}
}

// flushing lets nothing lie in a buffer.
type flushing struct{ http.ResponseWriter }

func (f flushing) Write(b []byte) (int, error) {
	n, err := f.ResponseWriter.Write(b)
	if err != nil {
		return n, err
	}
	return n, http.NewResponseController(f.ResponseWriter).Flush()
}
