package cache

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/filters/cache/store"
	"github.com/weirproxy/weir/internal/redis"
)

// announcer tells other proxies what is purged here, and hears what is purged
// there. Purges are numbered by the store: whoever has missed one, because it
// was not connected, sees a gap and forgets everything.
type announcer struct {
	client  *redis.Client
	channel string
	self    string
	// Each returns the number of the last purge, after this one.
	publish, last *redis.Script

	// deaf is since when nothing is heard, in nanoseconds of Unix time; 0: it is.
	deaf atomic.Int64

	mu    sync.Mutex
	seen  int64 // the last number
	known bool
}

// announceTime bounds the question of an operator.
const announceTime = 2 * time.Second

// announcement is what is published behind the number.
type announcement struct {
	From  string          `json:"from"`
	Order json.RawMessage `json:"order"`
}

// Close gives the connections up: no route asks for it any more.
func (a *announcer) Close() error { return a.client.Close() }

// keptAnnouncer is that of an earlier generation, or a new one; nil when the
// document names no store.
func (s *service) keptAnnouncer(settings *Store) (*announcer, error) {
	if settings == nil {
		return nil, nil
	}
	options := redis.From(&settings.Redis, &settings.Loaded)
	options.Timeout, options.Log = announceTime, s.env.Log
	name := fmt.Sprintf("announcer %s %q", redis.Identity(&settings.Redis, &settings.Loaded), settings.Channel)
	kept := s.env.Keep(name, func() any {
		a := &announcer{
			client:  redis.New(options),
			channel: settings.Channel + ":" + s.env.Route.Name, self: rand.Text(),
			publish: redis.NewScript(beginText + `local n = redis.call("INCR", KEYS[1]); redis.call("PUBLISH", KEYS[1], string.format("%.0f", n) .. " " .. ARGV[1]); return {n}`),
			last:    redis.NewScript(beginText + `return {tonumber(redis.call("GET", KEYS[1]))}`),
		}
		a.lost()
		return a
	})
	a, ok := kept.(*announcer)
	if !ok {
		return nil, fmt.Errorf("what was kept for purges is a %T", kept)
	}
	return a, nil
}

// beginText begins the numbers of a store that has none at its time in
// microseconds: one that has lost its data never counts up to a number that a
// proxy has seen before.
const beginText = `
if redis.call("EXISTS", KEYS[1]) == 0 then
  local t = redis.call("TIME")
  redis.call("SET", KEYS[1], string.format("%.0f", t[1] * 1000000 + t[2]))
end
`

// lost notes that nothing is heard from now on.
func (a *announcer) lost() { a.deaf.Store(time.Now().UnixNano()) }

// deafFor is for how long nothing has been heard.
func (a *announcer) deafFor(now time.Time) time.Duration {
	since := a.deaf.Load()
	if since == 0 {
		return 0
	}
	return now.Sub(time.Unix(0, since))
}

// listen connects and hears what others purge, until the generation ends.
func (s *service) listen() {
	a := s.announcer
	s.env.Go(func() { a.client.Keep(s.env.Context) })
	s.env.Go(func() {
		a.client.Subscribe(s.env.Context, a.channel, func() { s.resume(a) }, a.lost, func(message string) { s.heard(a, message) })
	})
}

// resume looks whether something was purged while nobody listened.
func (s *service) resume(a *announcer) {
	ctx, cancel := context.WithTimeout(s.env.Context, announceTime)
	defer cancel()
	numbers, err := a.client.Run(ctx, a.last, a.channel, nil)
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.known {
		a.seen, a.known = s.shelf.recall()
	}
	switch {
	case err != nil || len(numbers) != 1:
		a.seen = -1 // whatever comes next shows a gap
		s.env.Log.Warn("the number of the last purge cannot be read; the next one empties the cache", "err", err)
	case a.known && a.seen != numbers[0]:
		s.missed()
		fallthrough
	default:
		a.seen, a.known = numbers[0], true
		a.deaf.Store(0)
		s.shelf.remember(a.seen)
		s.env.Log.Info("purges of other proxies are heard", "channel", a.channel)
	}
}

// heard takes a purge of another in.
func (s *service) heard(a *announcer, message string) {
	number, text, _ := strings.Cut(message, " ")
	n, err := strconv.ParseInt(number, 10, 64)
	var said announcement
	if err == nil {
		err = json.Unmarshal([]byte(text), &said)
	}
	var p store.Purge
	if err == nil {
		p, err = s.orderOf(said.Order)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err != nil:
		s.env.Log.Warn("an announced purge is not understood; the cache is emptied instead", "err", err)
		s.missed()
	case a.known && n <= a.seen: // known by its number already, or one that resume has seen
		s.obey(a, &said, p)
		return
	case n != a.seen+1:
		s.missed()
	default:
		s.obey(a, &said, p)
	}
	if err == nil {
		a.seen, a.known = n, true
		s.shelf.remember(n)
	}
}

// obey does what another proxy was told.
func (s *service) obey(a *announcer, said *announcement, p store.Purge) {
	if said.From != a.self {
		s.env.Log.Info("purged, as another proxy was told", "responses", s.forget(p))
	}
}

// missed forgets everything: some of it was purged, and nobody here knows what.
func (s *service) missed() {
	s.env.Log.Warn("purges of other proxies were missed; the cache is emptied", "responses", s.forget(store.Purge{}))
	s.counts.gaps.Add(1)
}

// announce tells the others.
func (s *service) announce(ctx context.Context, input []byte) error {
	if s.announcer == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, announceTime)
	defer cancel()
	text, err := json.Marshal(announcement{From: s.announcer.self, Order: input})
	if err == nil {
		_, err = s.announcer.client.Run(ctx, s.announcer.publish, s.announcer.channel, []string{string(text)})
	}
	return err
}
