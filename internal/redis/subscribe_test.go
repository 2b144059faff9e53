package redis

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/weirproxy/weir/internal/redis/redistest"
)

// What is published is heard, again after the store was away, and the listener
// is told that something may have been lost.
func TestSubscribe(t *testing.T) {
	server := redistest.New(t)
	log := redistest.NewLog()
	c := keep(t, Options{Addresses: []string{server.Address()}}, log)
	begun, ended, heard := make(chan struct{}, 10), make(chan struct{}, 10), make(chan string, 10)
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() {
		c.Subscribe(ctx, "news", func() { begun <- struct{}{} }, func() { ended <- struct{}{} }, func(m string) { heard <- m })
	})
	defer work.Wait()
	defer cancel()
	late := time.After(20 * time.Second)
	for _, message := range []string{"one", "two"} {
		server.Start()
		select {
		case <-begun:
		case <-late:
			t.Fatal("it does not listen")
		}
		server.Command("PUBLISH", "news", message)
		select {
		case m := <-heard:
			if m != message {
				t.Errorf("%q, want %q", m, message)
			}
		case <-late:
			t.Fatal("nothing is heard")
		}
		server.Kill()
		// Somebody asks, and finds out that the store is gone.
		for c.Up() {
			if _, err := c.Run(ctx, plus, "k", []string{"1"}); err == nil {
				t.Error("a killed store answers")
			}
		}
		select {
		case <-ended:
		case <-late:
			t.Fatal("nobody is told that nothing is heard")
		}
	}
}

// TestSubscribeNotices: a store that says nothing any more, over a connection that
// stays, counts as not heard.
func TestSubscribeNotices(t *testing.T) {
	server := redistest.New(t)
	server.Start()
	c := keep(t, Options{Addresses: []string{server.Address()}}, redistest.NewLog())
	begun, ended := make(chan struct{}, 10), make(chan struct{}, 10)
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() {
		c.Subscribe(ctx, "news", func() { begun <- struct{}{} }, func() { ended <- struct{}{} }, func(string) {})
	})
	defer work.Wait()
	defer cancel()
	<-begun
	server.Pause()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("nobody notices")
	}
	server.Resume()
	<-begun
}
