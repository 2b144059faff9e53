package admin

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Config is what a Server is made of.
type Config struct {
	// Address is host:port or unix:/path.
	Address string
	// AllowRemote permits an address that other machines reach.
	AllowRemote bool
	Version     string
	Views       Views
	Log         *slog.Logger // nil: slog.Default
}

// Server serves the admin pages on one address.
type Server struct {
	cfg  Config
	http *http.Server
	ln   net.Listener
	done chan struct{} // closed when serving has ended; nil before Start
}

const (
	maxHeader      = 32 << 10
	maxBody        = 64 << 10
	maxConnections = 64 // more wait in the backlog of the system
	headTimeout    = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = 30 * time.Second // pprof adds the time of its profile
	idleTimeout    = 60 * time.Second
	shutdownGrace  = time.Second
)

// New makes a Server. Start opens the address.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	s := &Server{cfg: cfg}
	s.http = &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: headTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	return s
}

// Start opens the address and serves on it until Close.
func (s *Server) Start() error {
	ln, err := open(s.cfg.Address, s.cfg.AllowRemote)
	if err != nil {
		return err
	}
	s.ln = limited(ln, maxConnections)
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		if err := s.http.Serve(s.ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.cfg.Log.Error("the admin pages are gone", "address", s.Address(), "err", err)
		}
	}()
	return nil
}

// Address is where the pages are: host:port with the real port, or unix:/path.
// Before Start it is that of the Config.
func (s *Server) Address() string {
	if s.ln == nil {
		return s.cfg.Address
	}
	if addr := s.ln.Addr(); addr.Network() == "unix" {
		return unixPrefix + addr.String()
	}
	return s.ln.Addr().String()
}

// Close closes the address, gives calls under way a second, and ends them.
func (s *Server) Close() {
	if s.done == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // what is left is cut; there is nobody to tell
	}
	<-s.done
}
