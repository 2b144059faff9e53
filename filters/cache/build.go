package cache

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/filters/cache/rule"
	"github.com/weirproxy/weir/filters/cache/store"
	"github.com/weirproxy/weir/stream"
)

func newService(settings *Settings, env filter.Env, next stream.Service) (*service, error) {
	k, err := newKeys(env.Route.Name, settings)
	if err != nil {
		return nil, err
	}
	s := &service{
		next: next, env: env, keys: k, policy: policyOf(settings), counts: newCounts(env),
		maxObject: int64(settings.MaxObject), slice: int64(settings.Slice), variants: settings.Limits.Variants, background: int64(settings.Limits.Background),
		wait: time.Duration(settings.Wait), honour: settings.HonourClient, passTags: settings.PassTags, cacheStatus: settings.CacheStatus,
	}
	if s.shelf, err = s.keptShelf(settings); err != nil {
		return nil, err
	}
	if s.shelf.disk != nil {
		env.Go(func() { s.shelf.disk.run(env.Context, &s.shelf.log) })
	}
	if s.announcer, err = s.keptAnnouncer(settings.Store); err != nil {
		return nil, err
	}
	if s.announcer != nil {
		s.confirmAfter = time.Duration(settings.Store.ConfirmAfter)
		s.listen()
	}
	s.show()
	return s, nil
}

func policyOf(s *Settings) rule.Policy {
	return rule.Policy{
		Heuristic: time.Duration(s.Heuristic), ShareSetCookie: s.ShareSetCookieWithEveryone,
		Force: time.Duration(s.Force.TTL), ForceStatus: s.Force.Statuses,
		StaleWhileRevalidate: time.Duration(s.StaleWhileRevalidate), StaleIfError: time.Duration(s.StaleIfError),
		Targets: s.Targets,
	}
}

// keptShelf is the shelf of an earlier generation, or a new one. Its name has
// all that says what a key means: by other rules nothing of it would be found.
// Sizes are no part of that: they change and nothing is lost.
func (s *service) keptShelf(settings *Settings) (*shelf, error) {
	name := "shelf " + hex.EncodeToString(s.keys.seed) + " " + settings.Disk.Path
	var failed error
	kept := s.env.Keep(name, func() any {
		sh := &shelf{memory: store.NewMemory[*object](int64(settings.Size), func() { s.counts.evicted.Add(1) })}
		if settings.Disk.Path != "" {
			sh.disk, failed = s.openDisk(settings)
		}
		return sh
	})
	if failed != nil {
		return nil, failed
	}
	sh, ok := kept.(*shelf)
	if !ok {
		return nil, fmt.Errorf("what was kept as %q is a %T", name, kept)
	}
	sh.memory.Resize(int64(settings.Size))
	if sh.disk != nil {
		sh.disk.files.Resize(int64(settings.Disk.Size))
	}
	sh.budget.resize(max(int64(settings.Size)/2, 2*int64(settings.MaxObject)))
	sh.guard.limit.Store(int64(settings.Limits.NewKeys))
	return sh, nil
}

// openDisk opens the folder of this route and these rules, and removes those of
// the route by other rules, where nothing is ever found again.
func (s *service) openDisk(settings *Settings) (*diskTier, error) {
	route := hex.EncodeToString([]byte(s.env.Route.Name)) + "-"
	own := route + hex.EncodeToString(s.keys.seed[:8])
	others, err := os.ReadDir(settings.Disk.Path)
	if err == nil {
		for _, other := range others {
			if strings.HasPrefix(other.Name(), route) && other.Name() != own {
				_ = os.RemoveAll(filepath.Join(settings.Disk.Path, other.Name()))
			}
		}
	}
	files, err := store.OpenDisk(filepath.Join(settings.Disk.Path, own), int64(settings.Disk.Size))
	if err != nil {
		return nil, err
	}
	return newDiskTier(files, func() { s.counts.lost.Add(1) }), nil
}
