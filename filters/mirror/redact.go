package mirror

import (
	"errors"
	"fmt"
	"strings"

	"github.com/weirproxy/weir/internal/redact"
	"github.com/weirproxy/weir/stream"
)

// hiding hides what a copy must not have.
type hiding struct {
	json  *redact.Pointers // nil: no places
	form  *redact.Policy   // nil: no names
	query *redact.Policy   // nil: no names
}

func compileHiding(r *Redact) (hiding, error) {
	var h hiding
	if len(r.JSON) > 0 {
		var err error
		if h.json, err = redact.NewPointers(r.JSON); err != nil {
			return h, err
		}
	}
	if len(r.Form) > 0 {
		h.form = redact.New(nil, r.Form)
	}
	if len(r.Query) > 0 {
		h.query = redact.New(nil, r.Query)
	}
	return h, nil
}

// target is the target of a copy.
func (h *hiding) target(t stream.Target) stream.Target {
	if h.query != nil && t.Query != "" {
		t.Query = h.query.Query(t.Query)
	}
	return t
}

// bodies tells whether bodies are looked into.
func (h *hiding) bodies() bool { return h.json != nil || h.form != nil }

var (
	errCoded = errors.New("the body has a content coding")
	errType  = errors.New("there is no rule for the type of the body")
)

// form is what the header of a request says about its body.
type form struct {
	media string // without parameters; "" when there is none, or several
	coded bool
}

func formOf(h *stream.Header) form {
	var f form
	f.coded = isCoded(h)
	if h.Count("Content-Type") == 1 {
		contentType, _ := h.GetID(stream.ContentType)
		f.media = mediaOf(contentType)
	}
	return f
}

func isCoded(h *stream.Header) bool {
	coding, ok := h.GetID(stream.ContentEncoding)
	return ok && !stream.EqualFold(coding, "identity")
}

func mediaOf(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.Trim(media, " \t"))
}

func isJSON(media string) bool {
	return media == "application/json" || strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")
}

// body is the body of a copy. An error means that it may hold what is to be
// hidden: it must not be sent.
func (h *hiding) body(content []byte, f form) ([]byte, error) {
	switch {
	case !h.bodies() || len(content) == 0:
		return content, nil
	case f.coded:
		return nil, errCoded
	case h.json != nil && isJSON(f.media):
		hidden, err := h.json.JSON(content)
		if err != nil {
			return nil, fmt.Errorf("the body says that it is JSON: %w", err)
		}
		return hidden, nil
	case h.form != nil && f.media == "application/x-www-form-urlencoded":
		return []byte(h.form.Query(string(content))), nil
	}
	return nil, errType
}
