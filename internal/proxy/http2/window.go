package http2

// recvWindow is what a peer may still send, of one stream or of a connection.
// For the author of either half: under outbox.mu. size is the setting (or, for
// the connection, what WINDOW_UPDATE made of it); taken is what was read by
// the other side, and nothing else ever opens the window again.
type recvWindow struct {
	size  int64
	left  int64 // the peer may send
	taken int64 // read by the other side, not announced yet
}

func (w *recvWindow) init(size int64) { *w = recvWindow{size: size, left: size} }

// receive counts n bytes that came; false: the peer had no right to.
func (w *recvWindow) receive(n int) bool {
	if int64(n) > w.left {
		return false
	}
	w.left -= int64(n)
	return true
}

// take counts n bytes that were read. The result is what to announce now: the
// half of the window at once, less when the peer is about to run dry, so that
// bytes that others leave unread cannot hold everyone up.
func (w *recvWindow) take(n int) (announce int64) {
	w.taken += int64(n)
	if w.taken == 0 || 2*w.taken < w.size && w.taken < w.left {
		return 0
	}
	announce = w.taken
	w.left += announce
	w.taken = 0
	return announce
}

// grow adds what WINDOW_UPDATE gives to a window for sending; false: it would
// be larger than a window can be (RFC 9113 section 6.9.1).
func grow(window *int64, n int64) bool {
	if *window+n > maxWindow {
		return false
	}
	*window += n
	return true
}
