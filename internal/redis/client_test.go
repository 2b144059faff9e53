package redis

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/internal/redis/redistest"
)

// The library sleeps up to a second before it asks a cluster for its topology
// again, also when it has found that there is none and is closed.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}

// keep makes a client and keeps it connected until the test ends.
func keep(t *testing.T, o Options, log *redistest.Log) *Client {
	t.Helper()
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	if o.Timeout == 0 {
		o.Timeout = time.Second
	}
	c := New(o)
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { c.Keep(ctx) })
	t.Cleanup(func() {
		cancel()
		work.Wait()
		_ = c.Close()
	})
	return c
}

var plus = NewScript(`return {redis.call("INCRBY", KEYS[1], ARGV[1]), 7}`)

func run(t *testing.T, c *Client, want int64) {
	t.Helper()
	if got, err := c.Run(context.Background(), plus, "k", []string{"2"}); err != nil || len(got) != 2 || got[0] != want {
		t.Errorf("%v, %v, want %d", got, err, want)
	}
}

// TestStartsBeforeTheStore is skipper#1690: a store that is not there at the
// start is used once it is.
func TestStartsBeforeTheStore(t *testing.T) {
	server, log := redistest.New(t), redistest.NewLog()
	begun := time.Now()
	c := keep(t, Options{Addresses: []string{server.Address()}}, log)
	if took := time.Since(begun); took > time.Second {
		t.Errorf("to make a client took %v", took)
	}
	log.Await(t, "cannot be reached yet", 1)
	if _, err := c.Run(context.Background(), plus, "k", []string{"2"}); !errors.Is(err, ErrAway) || c.Up() {
		t.Errorf("%v before the store is there", err)
	}
	server.Start()
	log.Await(t, "the store is reached", 1)
	run(t, c, 2)
	run(t, c, 4)
}

// TestKilled: questions fail at once while the store is away, and reach it again
// when it is back.
func TestKilled(t *testing.T) {
	server, log := redistest.New(t), redistest.NewLog()
	server.Start()
	c := keep(t, Options{Addresses: []string{server.Address()}}, log)
	log.Await(t, "the store is reached", 1)
	for round := range 2 {
		run(t, c, 2)
		server.Kill()
		for c.Up() {
			if _, err := c.Run(context.Background(), plus, "k", []string{"2"}); err == nil {
				t.Fatal("a dead store answers")
			}
		}
		server.Start()
		log.Await(t, "the store is reached", round+2)
	}
	run(t, c, 2)
}

// TestHangs: a store that says nothing costs its timeout three times, then
// nothing.
func TestHangs(t *testing.T) {
	server, log := redistest.New(t), redistest.NewLog()
	server.Start()
	c := keep(t, Options{Addresses: []string{server.Address()}, Timeout: 20 * time.Millisecond}, log)
	log.Await(t, "the store is reached", 1)
	server.Pause()
	late := 0
	for c.Up() {
		if _, err := c.Run(context.Background(), plus, "k", []string{"2"}); !errors.Is(err, ErrLate) {
			t.Fatalf("%v", err)
		}
		late++
	}
	if late != tooLate {
		t.Errorf("it was waited for %d times, want %d", late, tooLate)
	}
	server.Resume()
	log.Await(t, "the store is reached", 2)
	if _, err := c.Run(context.Background(), plus, "other", []string{"2"}); err != nil {
		t.Error(err)
	}
}

func TestPassword(t *testing.T) {
	server, log := redistest.New(t, "--requirepass", "swordfish"), redistest.NewLog()
	server.Start()
	wrong := redistest.NewLog()
	keep(t, Options{Addresses: []string{server.Address()}, Password: "herring"}, wrong)
	wrong.Await(t, "cannot be reached yet", 1)
	if text := wrong.String(); strings.Contains(text, "herring") || !strings.Contains(text, "WRONGPASS") {
		t.Errorf("the log says %s", text)
	}
	c := keep(t, Options{Addresses: []string{server.Address()}, Password: "swordfish", Database: 3}, log)
	log.Await(t, "the store is reached", 1)
	run(t, c, 2)
}

// TestReplies: what the store says no to does not make it go away.
func TestReplies(t *testing.T) {
	server, log := redistest.New(t), redistest.NewLog()
	server.Start()
	c := keep(t, Options{Addresses: []string{server.Address()}}, log)
	log.Await(t, "the store is reached", 1)
	if _, err := c.Run(context.Background(), NewScript("return redis.call('NOTHING')"), "k", nil); err == nil || !c.Up() {
		t.Errorf("%v, up %v", err, c.Up())
	}
	server.Command("SCRIPT", "FLUSH")
	run(t, c, 2) // the script is sent again
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Run(ctx, plus, "k", []string{"2"}); err == nil || !c.Up() {
		t.Errorf("%v for an exchange that has ended, up %v", err, c.Up())
	}
}

func TestCloseEnds(t *testing.T) {
	server, log := redistest.New(t), redistest.NewLog()
	server.Start()
	c := keep(t, Options{Addresses: []string{server.Address()}}, log)
	log.Await(t, "the store is reached", 1)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Run(context.Background(), plus, "k", []string{"2"}); !errors.Is(err, ErrAway) {
		t.Errorf("%v after Close", err)
	}
}
