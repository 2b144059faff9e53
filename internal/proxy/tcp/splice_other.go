//go:build !linux

package tcp

// pipe is what splice needs; there is none here.
type pipe struct{}

// spliceNext says that these sockets cannot be spliced.
func (l *lane) spliceNext() error {
	l.unfit = true
	return nil
}

func (l *lane) dropPipe() {}
