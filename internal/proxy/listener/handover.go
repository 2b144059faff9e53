package listener

import "time"

// HandOver ends the accept loop of l and gives its open address to a new
// Listener, so that there is no moment in which clients are refused: those who
// come in between wait in the backlog. The connections of l go on. It returns
// nil when l was stopped, or when its socket cannot be handed over.
func (l *Listener) HandOver(cfg Config) *Listener {
	l.state.Lock()
	defer l.state.Unlock()
	socket, ok := l.ln.(interface{ SetDeadline(time.Time) error })
	if l.state.stopped || !ok {
		return nil
	}
	l.state.stopped = true
	close(l.stop)
	if l.state.serving {
		// The accept under way ends with an error; the loop then sees the stop.
		_ = socket.SetDeadline(time.Unix(1, 0)) // fails on a closed socket only, where Accept has failed too
		<-l.left
		_ = socket.SetDeadline(time.Time{})
	} else {
		l.release()
	}
	return newListener(cfg, l.ln)
}
