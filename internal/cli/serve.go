package cli

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/weirproxy/weir/internal/proxy/engine"
)

// daemon is a command that serves until it is told to end.
type daemon struct {
	log    *slog.Logger
	engine *engine.Engine
	reload func(reason string)   // SIGHUP; nil: ignored
	watch  func(context.Context) // runs beside, until its context ends; may be nil
}

// catchSignals begins before the first snapshot is loaded: its names may take
// seconds to resolve, and a signal that nobody catches ends the process.
func catchSignals() (signals chan os.Signal, stop func()) {
	signals = make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1)
	// The reader of our output may die; a write to it is then an error that is
	// counted, not the end of the process.
	signal.Ignore(syscall.SIGPIPE)
	return signals, func() { signal.Stop(signals) }
}

// serve runs until SIGINT or SIGTERM, drains within the grace period of the
// documents, and returns nil. A second signal ends the grace period.
func (d daemon) serve(signals <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if d.watch != nil {
			d.watch(ctx)
		}
	}()
	for name, address := range d.engine.Addresses() {
		d.log.Info("serving", "listener", name, "address", address)
	}
	for sig := range signals {
		if d.handle(sig) {
			break
		}
	}
	cancel()
	<-watched
	d.drain(signals)
	return nil
}

// handle acts on a signal and tells whether it is time to end.
func (d daemon) handle(sig os.Signal) (end bool) {
	switch sig {
	case syscall.SIGHUP:
		if d.reload != nil {
			d.reload("SIGHUP")
		}
	case syscall.SIGUSR1:
		if err := d.engine.ReopenLogs(); err != nil {
			d.log.Error("the access log could not be opened again; lines go to where they went before", "err", err)
		} else {
			d.log.Info("opened the access log again")
		}
	default:
		d.log.Info("ending: no new connections; what is under way may finish", "signal", sig.String(), "grace", d.engine.Grace().String())
		return true
	}
	return false
}

func (d daemon) drain(signals <-chan os.Signal) {
	ctx, cancel := context.WithTimeout(context.Background(), d.engine.Grace())
	defer cancel()
	go func() {
		for {
			select {
			case sig := <-signals:
				if sig == os.Interrupt || sig == syscall.SIGTERM {
					d.log.Warn("second signal: ending now")
					cancel()
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	d.engine.Shutdown(ctx)
	d.log.Info("ended")
}
