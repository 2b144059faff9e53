package http3

import "github.com/weirproxy/weir/stream"

// readResponse turns the head of a response into resp.
func readResponse(s *section, x *facts, resp *stream.Response) *stream.Fault {
	resp.Header.Reset()
	if err := x.read(s, &resp.Header, hasStatus); err != nil {
		return responseSide.bad(err)
	}
	status := x.pseudo.status
	if len(status) != 3 || status[0] < '1' || status[0] > '9' || !digit(status[1]) || !digit(status[2]) {
		return responseSide.bad(errStatus)
	}
	resp.Status = int(status[0]-'0')*100 + int(status[1]-'0')*10 + int(status[2]-'0')
	if resp.Status == 101 { // RFC 9114 section 4.5
		return responseSide.bad(errStatus)
	}
	if x.hosts+x.expects > 0 || x.te {
		return responseSide.bad(errConnection)
	}
	return nil
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// bodiless tells whether no content follows a head with that status.
func bodiless(method string, status int) bool {
	return method == "HEAD" || status == 204 || status == 304
}

// appendRequest appends the field section of req, whose body has length bytes
// (-1: not known).
func appendRequest(dst []byte, req *stream.Request, length int64) ([]byte, error) {
	t := &req.Target
	if !validToken(req.Method) || !is(t.Path, targetByte) || !is(t.Query, targetByte) ||
		!is(t.Host, targetByte) || !is(t.Port, targetByte) || t.Host == "" {
		return dst, errWriteTarget
	}
	dst = appendPrefix(dst)
	authority := t.Authority()
	switch {
	case req.Upgrade != "":
		if !validToken(req.Upgrade) {
			return dst, errWriteTarget
		}
		dst = appendMethod(dst, "CONNECT")
		dst = appendLiteral(dst, ":protocol", req.Upgrade)
	case req.Method == "CONNECT":
		dst = appendMethod(dst, "CONNECT")
		dst = appendNamed(dst, staticAuthority, authority)
		return appendRequestFields(dst, req)
	default:
		dst = appendMethod(dst, req.Method)
	}
	dst = appendIndexed(dst, staticHTTPS)
	dst = appendNamed(dst, staticAuthority, authority)
	if t.Path == "" || t.Path == "/" && !t.HasQuery {
		dst = appendIndexed(dst, staticPath)
	} else {
		dst = appendNamed(dst, staticPath, t.RequestURI())
	}
	dst, err := appendRequestFields(dst, req)
	if err != nil || req.Upgrade != "" {
		return dst, err
	}
	if length > 0 || length == 0 && (req.Method == "POST" || req.Method == "PUT" || req.Method == "PATCH") {
		dst = appendLength(dst, length)
	}
	if length != 0 {
		dst = appendAnnounced(dst, req.Body)
	}
	if req.GRPC == stream.GRPCCall {
		dst = appendLiteral(dst, "te", "trailers")
	}
	return dst, nil
}

// appendRequestFields appends the fields; the key of a WebSocket of HTTP/1.1
// stays behind (RFC 8441 section 5).
func appendRequestFields(dst []byte, req *stream.Request) ([]byte, error) {
	if req.Upgrade == "" {
		return appendFields(dst, &req.Header)
	}
	h := req.Header.Clone()
	h.DelID(stream.SecWebSocketKey)
	return appendFields(dst, &h)
}

// appendAnnounced appends Trailer, when the sender announced fields.
func appendAnnounced(dst []byte, body stream.Body) []byte {
	a, ok := body.(stream.Announcer)
	if !ok {
		return dst
	}
	if names := a.Announced(); names != "" && validValue(names) {
		dst = appendLiteral(dst, "trailer", names)
	}
	return dst
}
