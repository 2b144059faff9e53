package engine

import (
	"errors"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/proxy/admin"
	"github.com/weirproxy/weir/internal/snapshot"
)

// adminPlace is where the admin pages are, if anywhere. Guarded by
// Engine.apply.
type adminPlace struct {
	spec   config.Admin
	server *admin.Server // nil: off
}

// applyAdmin moves the admin pages to where s wants them. When the new address
// cannot be had, the old one stays.
func (e *Engine) applyAdmin(s *snapshot.Snapshot) error {
	if e.admin.server != nil && e.admin.spec == s.Admin {
		return nil
	}
	if s.Admin.Address == e.admin.spec.Address {
		e.admin.close() // the address cannot be had twice
	}
	var next *admin.Server
	if s.Admin.Address != "off" {
		next = admin.New(admin.Config{
			Address: s.Admin.Address, AllowRemote: s.Admin.AllowRemote, Version: e.cfg.Version, Log: e.log, Views: e.views(),
		})
		if err := next.Start(); err != nil {
			return err
		}
		e.log.Info("admin pages", "address", next.Address())
	}
	e.admin.close()
	e.admin = adminPlace{spec: s.Admin, server: next}
	return nil
}

func (a *adminPlace) close() {
	if a.server != nil {
		a.server.Close()
		a.server = nil
	}
}

// ready is nil once a generation serves, and until it drains.
func (e *Engine) ready() error {
	switch {
	case e.draining.Load():
		return errors.New("draining: no new connections are accepted")
	case e.running.Load() == nil:
		return errors.New("no generation serves yet")
	}
	return nil
}
