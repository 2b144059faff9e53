package compile

import (
	"math"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/stream"
)

// maxDelimiter is longer than any in use: a line is searched for it at every
// byte.
const maxDelimiter = 16

func checkFramedListener(spec *config.Listener, r *config.Report) {
	switch framed := spec.Protocol == "framed"; {
	case framed && spec.Framed == nil:
		r.Errorf("protocol", "add framed: {framing: {type: line}}", "protocol framed needs framed, which says what a frame is")
	case !framed && spec.Framed != nil:
		r.Errorf("framed", "write protocol: framed, or remove it", "framed does not go with protocol %s", spec.Protocol)
	case framed:
		below := r.Below("framed")
		checkFraming(&spec.Framed.Framing, below.Below("framing"))
		checkFrameRequest(spec.Framed, below)
		checkErrorFrame(spec.Framed, below)
	}
}

func checkFraming(f *config.Framing, r *config.Report) {
	defaults := config.Default[config.Framing]()
	if f.Type == "line" {
		switch {
		case f.Delimiter == "":
			r.Errorf("delimiter", `write for example "\n"`, "the delimiter is empty: no frame would end")
		case len(f.Delimiter) > maxDelimiter:
			r.Errorf("delimiter", "write a shorter one", "the delimiter has %d bytes, more than %d", len(f.Delimiter), maxDelimiter)
		}
		if f.LengthBytes != defaults.LengthBytes || f.ByteOrder != defaults.ByteOrder || f.Inclusive {
			r.Warnf("type", "write type: length, or remove them", "length_bytes, byte_order and inclusive have no effect with type line")
		}
		return
	}
	if f.Delimiter != defaults.Delimiter {
		r.Warnf("delimiter", "write type: line, or remove it", "the delimiter has no effect with type length")
	}
	if most := largestContent(f); f.Max > most {
		r.Errorf("max", "make max smaller, or length_bytes larger", "max is %s, and length_bytes: %d counts to %s only", f.Max, f.LengthBytes, most)
	}
}

// largestContent is what the number in front of a frame can say.
func largestContent(f *config.Framing) config.Size {
	if f.LengthBytes >= 8 {
		return math.MaxInt64
	}
	most := config.Size(1)<<(8*f.LengthBytes) - 1
	if f.Inclusive {
		most -= config.Size(f.LengthBytes)
	}
	return most
}

// checkFrameRequest looks at the request that is made of each frame.
func checkFrameRequest(spec *config.ListenerFramed, r *config.Report) {
	switch {
	case !stream.IsToken(spec.Method):
		r.Errorf("method", "write POST", "%q is no method", spec.Method)
	case spec.Method != strings.ToUpper(spec.Method):
		r.Errorf("method", "write "+strings.ToUpper(spec.Method), "method %q is not in upper case: methods are compared letter by letter", spec.Method)
	case spec.Method == "CONNECT" || spec.Method == "TRACE":
		r.Errorf("method", "write POST", "a frame cannot be a request with method %s", spec.Method)
	}
	path, _, _ := strings.Cut(spec.Path, "?")
	if form, err := stream.CanonicalPath(path); err != nil {
		r.Errorf("path", "write a path such as /frames", "path %q: %v", spec.Path, err)
	} else if form != path {
		r.Errorf("path", "write "+form, "path %q is not in the form that routes see", spec.Path)
	} else if _, fault := stream.ParseTarget("http", "POST", spec.Path, ""); fault != nil {
		r.Errorf("path", "write a path such as /frames", "path %q: %v", spec.Path, fault)
	}
	replacementHost(spec.Host, "host", r)
	checkHeaderText(spec.ContentType, "content_type", "application/octet-stream", r)
}

// checkErrorFrame refuses an answer that would be read as two frames, or as
// none.
func checkErrorFrame(spec *config.ListenerFramed, r *config.Report) {
	f := &spec.Framing
	if spec.Error == "" || f.Type == "line" && f.Delimiter == "" {
		return
	}
	for kind := range stream.NumKinds { // the words differ in length, and may hold an odd delimiter
		frame := strings.NewReplacer("{status}", "500", "{reason}", kind.String()).Replace(spec.Error)
		if f.Type == "line" && strings.Contains(frame, f.Delimiter) {
			r.Errorf("error", "leave it out: it is written behind the frame", "error has the delimiter, and would be more than one frame")
			return
		}
		if config.Size(len(frame)) > f.Max {
			r.Errorf("error", "make it shorter, or framing.max larger", "error can have %d bytes, more than framing.max (%s)", len(frame), f.Max)
			return
		}
	}
}

func checkHeaderText(text, path, example string, r *config.Report) {
	if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' }) {
		r.Errorf(path, "write for example "+example, "content type %q has bytes that a header must not have", text)
	}
}
