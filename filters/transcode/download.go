package transcode

import (
	"io"
	"strings"

	"github.com/weirproxy/weir/stream"
)

// form is how the messages of a stream are written.
type form uint8

const (
	arrayForm form = iota // one JSON array
	linesForm             // newline-delimited JSON
	eventForm             // server-sent events
	rawForm               // google.api.HttpBody: content as it is
)

var formTypes = [...]string{arrayForm: jsonType, linesForm: "application/x-ndjson", eventForm: "text/event-stream"}

// formOf is the first form that Accept names and does not weigh with 0.
func formOf(h *stream.Header) form {
	fields := h.Fields()
	for i := range fields {
		if fields[i].ID != stream.Accept {
			continue
		}
		for rest := fields[i].Value; rest != ""; {
			var member string
			member, rest, _ = strings.Cut(rest, ",")
			media, params, _ := strings.Cut(member, ";")
			if f, known := formByType(strings.Trim(media, " \t")); known && !refused(params) {
				return f
			}
		}
	}
	return arrayForm
}

func formByType(media string) (form, bool) {
	switch {
	case stream.EqualFold(media, "application/x-ndjson"), stream.EqualFold(media, "application/ndjson"),
		stream.EqualFold(media, "application/jsonl"):
		return linesForm, true
	case stream.EqualFold(media, "text/event-stream"):
		return eventForm, true
	}
	return arrayForm, stream.EqualFold(media, jsonType)
}

// refused: q=0, q=0.0, ...
func refused(params string) bool {
	for param := range strings.SplitSeq(params, ";") {
		name, value, found := strings.Cut(strings.Trim(param, " \t"), "=")
		if found && stream.EqualFold(name, "q") {
			return value != "" && strings.Trim(value, "0.") == ""
		}
	}
	return false
}

// download answers a call that streams responses.
func (c *call) download(resp *stream.Response) (*stream.Response, error) {
	body := &download{call: c, source: resp.Body, form: c.accept, frames: frames{body: resp.Body, max: c.options.maxMessage}}
	contentType := formTypes[c.accept]
	if c.streamsRaw() {
		body.form = rawForm
		if contentType = body.first(); body.failure != nil {
			s := *body.failure
			return c.failed(resp, s), nil
		}
		if body.err != nil && body.err != io.EOF { //nolint:errorlint // the contract of stream.Body
			resp.Body.Close()
			return nil, stream.AsFault(body.err)
		}
	}
	resp.Body, resp.Length = body, -1
	resp.Header.SetID(stream.ContentType, contentType)
	if body.form == eventForm {
		resp.Header.SetID(stream.CacheControl, "no-store")
	}
	return resp, nil
}

func (c *call) streamsRaw() bool {
	if f := c.binding.responseBody; f != nil {
		return !f.IsList() && !f.IsMap() && isHTTPBody(f.Message())
	}
	return isHTTPBody(c.binding.method.output)
}

// download is the body of a call that streams responses: each message is
// written as soon as it is there.
type download struct {
	call    *call
	source  stream.Body
	frames  frames
	form    form
	count   int     // messages written
	failure *status // of raw content: why the call failed before its end
	out     []byte  // out[at:] is not read yet
	at      int
	err     error // what ended it
}

var _ stream.Awaiter = (*download)(nil)

func (d *download) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for d.at == len(d.out) {
		if d.err != nil {
			return 0, d.err
		}
		d.out, d.at = d.out[:0], 0
		d.err = d.step()
	}
	n := copy(p, d.out[d.at:])
	d.at += n
	return n, nil
}

// first reads the first message of raw content, which has the content type.
func (d *download) first() (contentType string) {
	message, err := d.frames.next()
	if err != nil {
		if d.err = d.finish(err); d.failure != nil {
			d.err = nil
		}
		return ""
	}
	contentType, d.out, d.err = d.call.render(d.out, message)
	d.count++
	return contentType
}

// step writes one message, or the end.
func (d *download) step() error {
	message, err := d.frames.next()
	if err != nil {
		return d.finish(err)
	}
	before, after := d.around()
	d.out = append(d.out, before...)
	_, out, err := d.call.render(d.out, message)
	if err != nil {
		d.out = d.out[:0]
		return err
	}
	d.out = append(out, after...)
	d.count++
	return nil
}

// around is what stands before and behind a message.
func (d *download) around() (before, after string) {
	switch d.form {
	case arrayForm:
		if d.count == 0 {
			return "[", ""
		}
		return ",", ""
	case linesForm:
		return "", "\n"
	case eventForm:
		return "data: ", "\n\n"
	}
	return "", ""
}

// finish writes the end of the stream. A call that failed has, behind its
// messages, an object with the one field error.
func (d *download) finish(err error) error {
	if err != io.EOF { //nolint:errorlint // the contract of stream.Body
		return err
	}
	s, err := ending(d.source)
	if err != nil {
		return err
	}
	if s.code != codeOK && d.form == rawForm {
		if d.count == 0 {
			d.failure = &s
		}
		return stream.Faultf(stream.UpstreamReset, stream.RetryNever, "transcode: the call failed with gRPC status %d after %d messages", s.code, d.count)
	}
	if s.code != codeOK {
		before, after := d.around()
		if d.form == eventForm {
			before = "event: error\n" + before
		}
		d.out = append(d.out, before...)
		d.out = append(d.out, `{"error":`...)
		d.out = append(s.appendJSON(d.out, d.call.schema), '}')
		d.out = append(d.out, after...)
		d.count++
	}
	if d.form == arrayForm {
		if d.count == 0 {
			d.out = append(d.out, '[')
		}
		d.out = append(d.out, ']')
	}
	return io.EOF
}

func (d *download) Close() error { return d.source.Close() }

// Trailer is nil: the status is gRPC's own, and JSON has it in its content.
func (d *download) Trailer() *stream.Header { return nil }

// Await waits for the source, unless there is something to give already.
func (d *download) Await() error {
	a, ok := d.source.(stream.Awaiter)
	if ok && d.err == nil && d.at == len(d.out) && d.frames.waiting() {
		return a.Await()
	}
	return nil
}
