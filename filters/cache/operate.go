package cache

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/weirproxy/weir/filters/cache/store"
	"github.com/weirproxy/weir/stream"
)

// order is what an operator says is to be forgotten: one of these.
type order struct {
	URL    string `json:"url,omitempty"`
	Prefix string `json:"prefix,omitempty"`
	Tag    string `json:"tag,omitempty"`
	All    bool   `json:"all,omitempty"`
}

var errOrder = errors.New(`name exactly one of {"url": "https://HOST/PATH"}, {"prefix": "https://HOST/PATH"}, {"tag": "TAG"}, {"all": true}`)

// purged is the result of an order.
type purged struct {
	Purged int `json:"purged"` // responses
}

// purge does what an operator orders.
func (s *service) purge(ctx context.Context, input []byte) (any, error) {
	p, err := s.orderOf(input)
	if err != nil {
		return nil, fmt.Errorf("purging the cache: %w", err)
	}
	n := s.forget(p)
	if err := s.announce(ctx, input); err != nil {
		return nil, fmt.Errorf("%d responses are gone here, and the other proxies were not told: %w; purge again when the store is there", n, err)
	}
	return purged{n}, nil
}

func (s *service) forget(p store.Purge) int {
	n := s.shelf.purge(p)
	s.counts.purged.Add(int64(n))
	return n
}

func (s *service) orderOf(input []byte) (store.Purge, error) {
	var o order
	decoder := json.NewDecoder(bytes.NewReader(input))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&o); err != nil {
		return store.Purge{}, fmt.Errorf("reading the order: %w; %w", err, errOrder)
	}
	n := 0
	for _, set := range [...]bool{o.URL != "", o.Prefix != "", o.Tag != "", o.All} {
		if set {
			n++
		}
	}
	if n != 1 {
		return store.Purge{}, errOrder
	}
	switch {
	case o.URL != "":
		url, err := s.named(o.URL)
		return store.Purge{URL: url}, err
	case o.Prefix != "":
		prefix, err := s.named(o.Prefix)
		return store.Purge{Prefix: prefix}, err
	}
	return store.Purge{Tag: o.Tag}, nil
}

// named reads a URL as requests are read: what was stored is found by any
// spelling of it, with or without a scheme.
func (s *service) named(url string) (string, error) {
	absolute := url
	if !strings.Contains(url, "://") {
		absolute = "https://" + url
	}
	target, fault := stream.ParseTarget("", "GET", absolute, "")
	if fault != nil {
		return "", fmt.Errorf("%q is no URL: %w; write https://HOST/PATH", url, fault)
	}
	return urlOf(&target, s.keys.queries.of(target.Query)), nil
}

// view is what the admin page shows of a route.
type view struct {
	Objects    int              `json:"objects"`
	Bytes      int64            `json:"bytes"`
	MaxBytes   int64            `json:"max_bytes"`
	DiskFiles  int              `json:"disk_files,omitempty"`
	DiskBytes  int64            `json:"disk_bytes,omitempty"`
	DiskFaults int64            `json:"disk_faults,omitempty"`
	Fetching   int              `json:"fetching"`
	Background int64            `json:"background"`
	HitRatio   float64          `json:"hit_ratio"`
	Results    map[string]int64 `json:"results"`
}

func (s *service) view() any {
	sh := s.shelf
	v := view{
		Objects: sh.memory.Len(), Bytes: sh.memory.Bytes(), MaxBytes: sh.memory.Max(), Fetching: sh.table.len(),
		Background: sh.background.Load(), HitRatio: s.counts.ratio(), Results: map[string]int64{},
	}
	for r, counter := range s.counts.results {
		v.Results[resultNames[r]] = counter.Value()
	}
	if sh.disk != nil {
		v.DiskFiles, v.DiskBytes, v.DiskFaults = sh.disk.files.Len(), sh.disk.files.Bytes(), sh.disk.files.Faults()
	}
	return v
}

// show tells the house what operators may do and see.
func (s *service) show() {
	sh := s.shelf
	s.env.Operate("purge", s.purge)
	s.env.Show(s.view)
	s.env.Gauge("weir_cache_bytes", "Memory that is taken by what is stored.", func() float64 { return float64(sh.memory.Bytes()) })
	s.env.Gauge("weir_cache_objects", "Entries in memory.", func() float64 { return float64(sh.memory.Len()) })
	s.env.Gauge("weir_cache_hit_ratio", "Requests that the upstream did not see, of all since the start.", s.counts.ratio)
	s.env.Gauge("weir_cache_filling_bytes", "Memory that is taken by what is being fetched.", func() float64 { return float64(sh.budget.taken()) })
	if a := s.announcer; a != nil {
		s.env.Gauge("weir_cache_store_up", "1 while the store answers by which purges are told to other proxies.", func() float64 {
			if a.client.Up() {
				return 1
			}
			return 0
		})
	}
	if sh.disk != nil {
		s.env.Gauge("weir_cache_disk_bytes", "Room that is taken on the disk.", func() float64 { return float64(sh.disk.files.Bytes()) })
	}
}
