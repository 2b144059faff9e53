package cache

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/internal/redis"
	"github.com/weirproxy/weir/internal/redis/redistest"
	"github.com/weirproxy/weir/stream"
)

// The library sleeps up to a second before it asks for the topology again, also
// when it is closed.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}

// proxy is one of several with a cache, and its log.
func proxy(t *testing.T, settings string, o *origin) (*world, *redistest.Log) {
	w := &world{t: t, House: &filtertest.House{}, origin: o}
	log := redistest.NewLog()
	decoded, problems := filtertest.Decode(t, Definition(), settings)
	if problems.Errors() > 0 {
		t.Fatal(problems)
	}
	env := w.Env(t)
	env.Log = slog.New(slog.NewTextHandler(log, nil))
	var err error
	if w.service, err = Definition().Build(decoded, env, o); err != nil {
		t.Fatal(err)
	}
	kept := w.service.(*service).announcer
	t.Cleanup(func() { kept.Close() })
	return w, log
}

const heard = "purges of other proxies are heard"

func TestPurgesAreAnnounced(t *testing.T) {
	server := redistest.New(t)
	server.Start()
	settings := "store: {redis: {addresses: ['" + server.Address() + "']}}"
	const long = "Cache-Control: max-age=100000"
	a, aLog := proxy(t, settings, says(200, "page #", long, "Cache-Tag: x"))
	b, bLog := proxy(t, settings, says(200, "page #", long, "Cache-Tag: x"))
	aLog.Await(t, heard, 1)
	bLog.Await(t, heard, 1)
	b.get("http://h/1")
	b.get("http://h/2")
	a.get("http://h/1")

	if result, err := a.Operate(t.Context(), "purge", map[string]string{"url": "h/1"}); err != nil || result != (purged{1}) {
		t.Fatalf("%v, %v", result, err)
	}
	bLog.Await(t, "purged, as another proxy was told", 1)
	b.want("purged by the other", b.get("http://h/1"), "page 2", "fwd=uri-miss")
	b.want("not purged", b.get("http://h/2"), "page 1", "hit")

	// The store goes: who purges is told that nobody hears it.
	server.Kill()
	_, err := a.Operate(t.Context(), "purge", map[string]string{"tag": "x"})
	if err == nil || !strings.Contains(err.Error(), "the other proxies were not told") {
		t.Errorf("%v", err)
	}
	// It comes back and knows no numbers any more: what was missed is not known.
	server.Start()
	bLog.Await(t, heard, 2)
	bLog.Await(t, "purges of other proxies were missed", 1)
	b.want("nobody knows", b.get("http://h/2"), "page 3", "fwd=uri-miss")
	if n := b.Counted("weir_cache_purge_gaps_total"); n != 1 {
		t.Errorf("%d gaps", n)
	}
}

// A proxy that has not heard for a while asks the upstream about what it has, if
// the document says so, and stops when it hears again.
func TestDeafProxiesConfirm(t *testing.T) {
	server := redistest.New(t)
	server.Start()
	o := &origin{answer: func(_ int, _ context.Context, req *stream.Request) (*stream.Response, error) {
		if tag, ok := req.Header.GetID(stream.IfNoneMatch); ok && tag == `"1"` {
			return filtertest.Response(304, "", `ETag: "1"`, "Cache-Control: max-age=100000"), nil
		}
		return filtertest.Response(200, "page", `ETag: "1"`, "Cache-Control: max-age=100000"), nil
	}}
	w, log := proxy(t, "store: {confirm_after: 1m, redis: {addresses: ['"+server.Address()+"']}}", o)
	log.Await(t, heard, 1)
	w.get("/")
	w.want("heard", w.get("/"), "page", "hit")
	server.Kill()
	log.Await(t, "is not heard", 1)
	w.want("not heard for a moment", w.get("/"), "page", "hit")
	a := w.service.(*service).announcer
	if a.deaf.Load() == 0 {
		t.Error("it does not know that it hears nothing")
	}
	a.deaf.Add(-int64(2 * time.Minute))
	w.want("not heard for long", w.get("/"), "page", "fwd=stale; fwd-status=304")
	w.want("and again", w.get("/"), "page", "fwd=stale; fwd-status=304")
	server.Start()
	log.Await(t, heard, 2)
	w.get("/") // it was emptied
	w.want("heard again", w.get("/"), "page", "hit")
}

// TestNumbersBeginAnew: a store that has lost its data does not count up to where
// it was: who was away would see no gap.
func TestNumbersBeginAnew(t *testing.T) {
	server := redistest.New(t)
	server.Start()
	w, log := proxy(t, "store: {redis: {addresses: ['"+server.Address()+"']}}", says(200, "page", fresh))
	log.Await(t, heard, 1)
	a := w.service.(*service).announcer
	seen := map[int64]bool{}
	for round := range 4 {
		numbers, err := a.client.Run(t.Context(), a.publish, a.channel, []string{"{}"})
		if err != nil || len(numbers) != 1 || seen[numbers[0]] {
			t.Fatalf("round %d: %v, %v, seen %v", round, numbers, err, seen)
		}
		seen[numbers[0]] = true
		if round%2 == 1 {
			server.Command("FLUSHALL")
		}
	}
}

// What was purged while a proxy did not run is not found on its disk.
func TestPurgedWhileNotRunning(t *testing.T) {
	server := redistest.New(t)
	server.Start()
	settings := "{store: {redis: {addresses: ['" + server.Address() + "']}}, disk: {path: " + t.TempDir() + "}}"
	process := func(name string, run func(t *testing.T, w *world, log *redistest.Log)) {
		t.Run(name, func(t *testing.T) {
			w, log := proxy(t, settings, says(200, "page", fresh))
			log.Await(t, heard, 1)
			run(t, w, log)
		})
	}
	o := &object{key: [32]byte{1}, labels: labelsOf("h/", nil), status: 200}
	process("first", func(t *testing.T, w *world, _ *redistest.Log) {
		if err := w.service.(*service).shelf.disk.files.Put(o.key, o.labels, encode(o)); err != nil {
			t.Fatal(err)
		}
	})
	process("nothing was missed", func(t *testing.T, w *world, log *redistest.Log) {
		w.service.(*service).shelf.disk.scan(t.Context(), &w.service.(*service).shelf.log)
		if n := w.Counted("weir_cache_purge_gaps_total"); n != 0 || w.Shown().(view).DiskFiles != 1 {
			t.Errorf("%d gaps, %+v", n, w.Shown())
		}
	})
	server.Command("INCR", "weir:cache:test")
	process("one was missed", func(t *testing.T, w *world, log *redistest.Log) {
		log.Await(t, "purges of other proxies were missed", 1)
		w.service.(*service).shelf.disk.scan(t.Context(), &w.service.(*service).shelf.log)
		if w.Shown().(view).DiskFiles != 0 {
			t.Errorf("%+v", w.Shown())
		}
	})
}

func TestRedisSettings(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	os.WriteFile(password, []byte("secret\n"), 0o600)
	decoded, problems := filtertest.Decode(t, Definition(), "store: {redis: {addresses: [10.0.0.1:6379], tls: {}, password: {file: "+password+"}}}")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	s := decoded.(Settings)
	if o := redis.From(&s.Store.Redis, &s.Store.Loaded); o.Password != "secret" || o.TLS == nil {
		t.Errorf("%q", o.Password)
	}
	for _, form := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(form, *s.Store); strings.Contains(text, "secret") {
			t.Errorf("%s shows the password: %s", form, text)
		}
	}
	for settings, want := range map[string]string{
		"redis: {addresses: [h:1]}":                                      "write store: {redis: {addresses: [HOST:PORT]}}",
		"store: {redis: {addresses: [redis]}}":                           "is no address",
		"store: {redis: {addresses: [h:1], password: {env: X}}}":         "from files only",
		"store: {redis: {addresses: [h:1], password: {file: /none/at}}}": "cannot be used",
	} {
		if text := filtertest.Check(t, Definition(), settings); len(text) == 0 || !strings.Contains(text[0].String(), want) {
			t.Errorf("%s: %v", settings, text)
		}
	}
}
