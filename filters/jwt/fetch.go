package jwt

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/filters/jwt/keys"
	"github.com/weirproxy/weir/stream"
)

// sourceOf is the source of the keys of an issuer. Routes that name the same URL
// share one, so that it is fetched once.
func sourceOf(k *Keys, issuer string, env filter.Env) (*keys.Source, error) {
	if k.URL == "" {
		set, err := keys.ParseSet(k.Content)
		if err != nil {
			return nil, fmt.Errorf("the keys of %s: %w", issuer, err)
		}
		return keys.Fixed(set), nil
	}
	target, fault := stream.ParseTarget("", "GET", k.URL, "")
	if fault != nil {
		return nil, fault
	}
	times := keys.Times{
		Refresh: time.Duration(k.Refresh), Stale: time.Duration(k.Stale),
		Cooldown: time.Duration(k.Cooldown), Timeout: time.Duration(k.Timeout),
	}
	source := env.Share(fmt.Sprintf("keys %q %q %v %d", k.URL, k.Cluster, times, k.MaxSize),
		func() any { return keys.NewSource(times) }).(*keys.Source)
	f := &fetcher{cluster: env.Cluster(k.Cluster, times.Timeout), target: target, maxSize: int64(k.MaxSize)}
	result := func(result string) *filter.Counter {
		return env.Counter("weir_jwt_key_fetches_total", "Fetches of key sets, counted at one of the routes that share the set.", "issuer", issuer, "result", result)
	}
	ok, failed := result("ok"), result("error")
	there := false
	env.Go(func() {
		source.Follow(env.Context, f.fetch, func(err error) {
			switch {
			case err != nil:
				failed.Add(1)
				env.Log.Warn("the keys of an issuer cannot be fetched; those that were fetched before stay in use for a while", "issuer", issuer, "cluster", k.Cluster, "err", err)
			case !there:
				env.Log.Info("the keys of an issuer are fetched", "issuer", issuer, "keys", source.State().Keys)
				fallthrough
			default:
				ok.Add(1)
			}
			there = err == nil
		})
	})
	return source, nil
}

// fetcher gets a set through a cluster of the document: its TLS, its limits and
// its health are those of everything that goes there.
type fetcher struct {
	cluster stream.Service
	target  stream.Target
	maxSize int64
}

// fetch makes a request that has nothing of any client. A redirect is not
// followed: it leads where nobody has said that keys may come from.
func (f *fetcher) fetch(ctx context.Context) ([]byte, error) {
	req := &stream.Request{Method: "GET", Target: f.target, Proto: stream.HTTP11, Body: stream.NoBody, Conn: &stream.Conn{}}
	req.Header.AddID(stream.Accept, "application/jwk-set+json, application/json")
	req.Header.AddID(stream.AcceptEncoding, "identity")
	req.Header.AddID(stream.UserAgent, "weir")
	resp, err := f.cluster.Serve(ctx, req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.Status != 200 {
		return nil, fmt.Errorf("the answer has status %d, not 200", resp.Status)
	}
	if coding, ok := resp.Header.GetID(stream.ContentEncoding); ok && !stream.EqualFold(coding, "identity") {
		return nil, fmt.Errorf("the answer is compressed (%q), though that was not asked for", coding)
	}
	content, err := io.ReadAll(io.LimitReader(resp.Body, f.maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("the answer breaks off: %w", err)
	}
	if int64(len(content)) > f.maxSize {
		return nil, fmt.Errorf("the answer has more than %d bytes", f.maxSize)
	}
	return content, nil
}
