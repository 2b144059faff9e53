package http2

// hold has what the exchange keeps in memory charged to its tenant.
func (w *worker) hold(g *lazyGuard, n int) {
	payer := w.c.srv.cfg.Payer
	if payer == nil {
		return
	}
	if !g.Billed() {
		g.Bill(payer(&w.s.req))
	}
	g.Hold(n)
}

// keepContent has the content of a request charged that comes and is not read
// yet, if there is much of it.
func (w *worker) keepContent(s *serverStream) {
	payer := w.c.srv.cfg.Payer
	if payer == nil || s.req.Length >= 0 && s.req.Length <= muchContent {
		return
	}
	w.read.watch(w.c, w.expireRead)
	w.read.Bill(payer(&s.req))
	s.inbox.keep(&w.read.Guard)
}

// letContent is the end of that: a verdict that comes late must not meet the
// next exchange.
func (w *worker) letContent() {
	if w.read.Billed() {
		w.read.Rest()
		w.read.Bill(nil)
	}
}
