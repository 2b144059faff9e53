package redis

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/redis/rueidis"
)

// Subscribe hands over what is published on a channel, in order, until ctx ends.
// It connects, and connects anew, for as long as it takes; each time it listens
// again it says so by begun, because what was published meanwhile is lost, and
// by ended when it does not any more. It is for a goroutine of its own; none of
// the functions may block for long.
func (c *Client) Subscribe(ctx context.Context, channel string, begun, ended func(), receive func(message string)) {
	for tries := 1; ctx.Err() == nil; tries++ {
		if inner := c.client(); inner != nil && c.up.Load() {
			listening := false
			err := c.listen(ctx, inner, channel, func() { listening = true; begun() }, receive)
			if ctx.Err() != nil {
				return
			}
			if listening {
				ended()
				tries = 1
				c.options.Log.Warn("what the store publishes is not heard; it is subscribed to again", "store", c.options.Addresses, "err", err)
			}
		}
		select {
		case <-time.After(pauses.Full(tries, rand.Uint64())):
		case <-ctx.Done():
		}
	}
}

// listen subscribes once, on a connection of its own.
func (c *Client) listen(ctx context.Context, inner rueidis.Client, channel string, begun func(), receive func(string)) error {
	own, release := inner.Dedicate()
	defer release()
	lost := own.SetPubSubHooks(rueidis.PubSubHooks{
		OnMessage: func(m rueidis.PubSubMessage) { receive(m.Message) },
	})
	first, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := own.Do(first, own.B().Subscribe().Channel(channel).Build()).Error(); err != nil {
		return err
	}
	begun()
	select {
	case err := <-lost:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
