package cache

import (
	"io"
	"strconv"
	"time"

	"github.com/weirproxy/weir/filters/cache/rule"
	"github.com/weirproxy/weir/stream"
)

// reply is a response from the cache and its body, in one piece of memory.
type reply struct {
	stream.Response
	content content
}

// content is a body that reads stored bytes: they are shared, never changed.
type content struct{ rest []byte }

var _ stream.Prefetcher = (*content)(nil)

func (c *content) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *content) Close() error            { c.rest = nil; return nil }
func (c *content) Trailer() *stream.Header { return nil }
func (c *content) Bytes() ([]byte, bool)   { return c.rest, true }
func (c *content) Prefetch(int) error      { return nil }

// answer makes the response to req of a stored one: all of it, a part, or the
// word that the client has it already (RFC 9111 section 4, RFC 9110 sections 13
// and 14). status is the value of Cache-Status, "" for that of a hit.
func (s *service) answer(req *stream.Request, a *asked, o *object, now time.Time, how result, status string) *stream.Response {
	age := o.age(now)
	t := o.textsAt(age)
	if status == "" {
		status = t.hit
	}
	r := &reply{}
	r.Status, r.Length, r.Body = o.status, int64(len(o.body)), &r.content
	r.content.rest = o.body
	fields := o.header.Fields()
	r.Header.Grow(len(fields) + 3)
	for i := range fields {
		r.Header.Append(fields[i])
	}
	if a.conditions {
		s.narrow(&r.Response, &r.content, req, o)
	}
	if how != miss || age >= time.Second { // what has just been made has no age
		r.Header.Append(stream.Field{Name: "Age", Value: t.age, ID: stream.Age})
	}
	if s.cacheStatus {
		r.Header.Append(stream.Field{Name: "Cache-Status", Value: status, ID: stream.CacheStatus})
	}
	served := len(r.content.rest)
	if a.slice {
		served = 0 // it is counted as the client takes it
	}
	s.counts.answered(how, served, age)
	if req.Method == "HEAD" && r.Status != 304 {
		r.Body = stream.NoBody
	}
	return &r.Response
}

// narrow makes the response a 304, 206 or 416, where the conditions of the
// client ask for it.
func (s *service) narrow(resp *stream.Response, body *content, req *stream.Request, o *object) {
	c := rule.ConditionsOf(&req.Header)
	if c.NotModified(o.status, &o.header) {
		confirm(resp)
		body.rest = nil
		return
	}
	if c.Range == "" || o.status != 200 || req.Method != "GET" || !c.RangeHolds(&o.header) {
		return
	}
	length := int64(len(o.body))
	part, wanted := rule.RangeOf(c.Range, length)
	total := strconv.FormatInt(length, 10)
	switch wanted {
	case rule.OnePart:
		resp.Status, resp.Length = 206, part.End-part.Start
		body.rest = o.body[part.Start:part.End]
		resp.Header.AddID(stream.ContentRange,
			"bytes "+strconv.FormatInt(part.Start, 10)+"-"+strconv.FormatInt(part.End-1, 10)+"/"+total)
	case rule.Unsatisfied:
		resp.Status, resp.Length = 416, 0
		body.rest = nil
		resp.Header.DelFunc(func(f *stream.Field) bool { return describesContent(f.ID) })
		resp.Header.AddID(stream.ContentRange, "bytes */"+total)
	}
}

// confirm makes a response the 304 that stands for it (RFC 9110 section
// 15.4.5): it has what a cache behind us needs, and no content.
func confirm(resp *stream.Response) {
	resp.Status, resp.Length, resp.Body = 304, -1, stream.NoBody
	resp.Header.DelFunc(func(f *stream.Field) bool {
		return describesContent(f.ID) && f.ID != stream.ETag && f.ID != stream.LastModified
	})
}

func describesContent(id stream.ID) bool {
	switch id {
	case stream.ContentType, stream.ContentEncoding, stream.ContentLanguage, stream.ContentRange, stream.ETag, stream.LastModified:
		return true
	}
	return false
}

// onlyCached is the answer to a client that wants nothing fetched (RFC 9111
// section 5.2.1.7).
func (s *service) onlyCached(req *stream.Request) *stream.Response {
	req.Body.Close()
	s.counts.results[bypass].Add(1)
	resp := &stream.Response{Status: 504, Body: stream.NoBody}
	resp.Header.AddID(stream.CacheControl, "no-store")
	s.tell(resp, statusRequest+suffixDetail+detailOnlyCached)
	return resp
}

// tell writes Cache-Status into a response that came from the upstream.
func (s *service) tell(resp *stream.Response, status string) {
	if s.cacheStatus {
		resp.Header.AddID(stream.CacheStatus, status)
	}
}
