package rule

import (
	"time"

	"github.com/weirproxy/weir/stream"
)

// Refusal says why a response is not kept: a word for metrics and Cache-Status,
// "" when it may be kept.
type Refusal string

// The refusals.
const (
	Kept           Refusal = ""
	NoStore        Refusal = "no_store"       // section 5.2.2.5, or 5.2.1.5 in the request
	Private        Refusal = "private"        // section 5.2.2.7
	Authorized     Refusal = "authorization"  // section 3.5
	WithCookie     Refusal = "request_cookie" // RFC 6265: the client showed who it is
	SetsCookie     Refusal = "set_cookie"     // RFC 6265 section 3, RFC 9111 section 7.3
	NoLifetime     Refusal = "no_lifetime"    // nothing says that it may be kept, or it never could be used
	OddStatus      Refusal = "status"         // an interim, partial or unknown one
	VaryAny        Refusal = "vary"           // Vary: *, or too many names (section 4.1)
	Changed        Refusal = "trailer"        // content that is followed by a trailer
	TooLarge       Refusal = "too_large"
	NoRoom         Refusal = "no_room" // too many bytes are being kept at this moment
	BrokeOff       Refusal = "broke_off"
	Purged         Refusal = "purged" // while it was on its way
	GuardedVariant Refusal = "variant_guard"
	OddPart        Refusal = "part" // another part than was asked for, or one that nothing says belongs to the others
	TagsAny        Refusal = "tags" // too many, or too long, to be purged by
)

// Asker is what the request says about whether its response may be shared.
type Asker struct {
	NoStore     bool
	Credentials bool // Authorization, a client certificate, or a token that was verified
	Cookie      bool
}

// AskerOf reads it.
func AskerOf(req *stream.Request) Asker {
	var a Asker
	fields := req.Header.Fields()
	for i := range fields {
		switch fields[i].ID {
		case stream.Authorization, stream.ProxyAuthorization:
			a.Credentials = true
		case stream.Cookie:
			a.Cookie = true
		}
	}
	// An identity is a credential, too, that of the connection and that of a token
	// which a filter has verified, and taken out: the upstream may have been told
	// about it.
	if req.Caller != nil && req.Caller.Claims != nil {
		a.Credentials = true
	}
	if c := req.Conn; c != nil && c.TLS != nil && c.TLS.Client != nil {
		a.Credentials = true
	}
	return a
}

// Policy is what the document allows beyond the RFC, or less.
type Policy struct {
	Heuristic      time.Duration // longest guessed lifetime; 0: none is guessed
	ShareSetCookie bool          // responses with Set-Cookie are kept (and given to all)
	Force          time.Duration // keeps what the response forbids for that long; 0: nothing is forced
	ForceStatus    []int
	Targets        []string // fields that count in the place of Cache-Control, the first one first
	// Stale times for responses that say nothing about them.
	StaleWhileRevalidate, StaleIfError time.Duration
}

// Terms are the terms on which a response is kept.
type Terms struct {
	Lifetime             time.Duration // fresh for so long, counted from its making
	InitialAge           time.Duration // its age when it came
	StaleWhileRevalidate time.Duration
	StaleIfError         time.Duration
	Validate             bool // no-cache: never without asking
	Strict               bool // must-revalidate: never stale, whatever a client takes
	ForCredentials       bool // requests that show who asks may have it, too (section 3.5)
	ForCookies           bool // and those with cookies
}

// Judge says whether a response to a GET may be kept, and on which terms (RFC
// 9111 section 3).
func Judge(resp *stream.Response, asker Asker, t Times, p *Policy) (Terms, Refusal) {
	if p.Force > 0 && forced(resp.Status, p.ForceStatus) {
		return judgeForced(resp, p)
	}
	c := controlFor(&resp.Header, p.Targets)
	if why := refuse(resp, &c, asker, p); why != Kept {
		return Terms{}, why
	}
	lifetime, explicit := Lifetime(resp, &c, t, p.Heuristic)
	terms := Terms{Lifetime: lifetime, InitialAge: InitialAge(&resp.Header, t), Validate: c.NoCache, Strict: c.MustRevalidate || c.NoCache}
	terms.StaleWhileRevalidate = staleFor(&c, c.StaleWhileRevalidate, p.StaleWhileRevalidate)
	terms.StaleIfError = staleFor(&c, c.StaleIfError, p.StaleIfError)
	terms.ForCookies = c.Public || c.SMaxAge != None
	terms.ForCredentials = terms.ForCookies || c.MustRevalidate
	switch {
	case !explicit && lifetime == 0 && !c.Public && !c.NoCache: // section 3, last point
		return Terms{}, NoLifetime
	case (lifetime == 0 || c.NoCache) && !HasValidator(&resp.Header) && terms.StaleWhileRevalidate == 0 && terms.StaleIfError == 0:
		return Terms{}, NoLifetime // it could never be used
	case lifetime <= terms.InitialAge && !HasValidator(&resp.Header) && lifetime+terms.StaleWhileRevalidate <= terms.InitialAge &&
		lifetime+terms.StaleIfError <= terms.InitialAge:
		return Terms{}, NoLifetime
	}
	return terms, Kept
}

// staleFor is how long a response may be used beyond its lifetime. What it says
// itself counts, unless must-revalidate stands beside it (section 4.2.4). What
// the document says counts where it is silent; s-maxage is not silent, since it
// implies proxy-revalidate (section 5.2.2.10).
func staleFor(c *Control, own, document time.Duration) time.Duration {
	switch {
	case c.MustRevalidate, c.NoCache:
		return 0
	case own != None:
		return own
	case c.SMaxAge != None:
		return 0
	}
	return document
}

// refuse goes through what forbids to keep a response.
func refuse(resp *stream.Response, c *Control, asker Asker, p *Policy) Refusal {
	switch {
	case !storableStatus(resp.Status, c), has(&resp.Header, stream.ContentRange):
		return OddStatus
	case c.NoStore, asker.NoStore:
		return NoStore
	case c.Private:
		return Private
	case asker.Credentials && !c.Public && !c.MustRevalidate && c.SMaxAge == None: // section 3.5
		return Authorized
	case asker.Cookie && !c.Public && c.SMaxAge == None:
		return WithCookie
	case !p.ShareSetCookie && has(&resp.Header, stream.SetCookie):
		return SetsCookie
	}
	return Kept
}

// storableStatus: final ones, whole ones, and only known ones where the
// response says that the code matters (section 5.2.2.3). A no-store beside
// must-understand counts here: who does not like it leaves it out.
func storableStatus(status int, c *Control) bool {
	switch {
	case status < 200, status > 599, status == 206, status == 304:
		return false
	case c.MustUnderstand:
		return heuristicStatus(status) || status == 302 || status == 307
	}
	return true
}

// judgeForced keeps what the document says in so many words, whatever the
// response says. Two things stay: a cookie is never shared by this way, and
// Vary: * has no key.
func judgeForced(resp *stream.Response, p *Policy) (Terms, Refusal) {
	switch {
	case !p.ShareSetCookie && has(&resp.Header, stream.SetCookie):
		return Terms{}, SetsCookie
	case resp.Status < 200, resp.Status == 206, resp.Status == 304, has(&resp.Header, stream.ContentRange):
		return Terms{}, OddStatus
	}
	return Terms{
		Lifetime: p.Force, StaleWhileRevalidate: p.StaleWhileRevalidate, StaleIfError: p.StaleIfError, ForCredentials: true, ForCookies: true,
	}, Kept
}

func forced(status int, list []int) bool {
	for _, s := range list {
		if s == status {
			return true
		}
	}
	return false
}

func has(h *stream.Header, id stream.ID) bool {
	_, ok := h.GetID(id)
	return ok
}

// HasValidator tells whether a response can be asked about later (section 4.3.1).
func HasValidator(h *stream.Header) bool {
	return has(h, stream.ETag) || has(h, stream.LastModified)
}

// Lets tells whether a response on these terms may be given to who asks. What
// was made for nobody in particular is no answer for somebody, unless it says
// that it is: the page of a shop without the name of who is logged in.
func (t *Terms) Lets(a Asker) bool {
	return (!a.Credentials || t.ForCredentials) && (!a.Cookie || t.ForCookies)
}

// OfResponse tells whether a refusal is about the response alone, so that the
// next request will meet it again, whoever asks.
func (r Refusal) OfResponse() bool {
	switch r {
	case NoStore, Private, SetsCookie, NoLifetime, OddStatus, VaryAny, Changed, TooLarge, TagsAny, OddPart:
		return true
	}
	return false
}

// Refusals are all of them.
func Refusals() []Refusal {
	return []Refusal{
		NoStore, Private, Authorized, WithCookie, SetsCookie, NoLifetime, OddStatus, VaryAny, Changed, TooLarge, NoRoom, BrokeOff, Purged,
		GuardedVariant, TagsAny, OddPart,
	}
}
