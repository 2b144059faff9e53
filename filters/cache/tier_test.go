package cache

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/filters/cache/store"
	"github.com/weirproxy/weir/stream"
)

// onFile starts a process with a cache in a folder, runs it, and ends it when
// all is written.
func onFile(t *testing.T, folder, settings string, o *origin, run func(w *world)) {
	t.Helper()
	t.Run("", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := cached(t, "{disk: {path: "+folder+"}, "+settings+"}", o)
			synctest.Wait() // the folder is taken in
			run(w)
			synctest.Wait()
		})
	})
}

func TestDiskTier(t *testing.T) {
	folder := t.TempDir()
	o := &origin{answer: func(n int, _ context.Context, req *stream.Request) (*stream.Response, error) {
		language, _ := req.Header.Get("Accept-Language")
		fields := []string{fresh, "Surrogate-Key: x", `ETag: "a"`, "X-Odd: \xff\xfe"}
		if language != "" {
			fields = append(fields, "Vary: Accept-Language")
		}
		return filtertest.Response(200, "page "+language, fields...), nil
	}}
	const de = "Accept-Language: de"
	onFile(t, folder, "", o, func(w *world) {
		w.get("http://h/")
		w.get("http://h/v", de)
		w.get("http://h/v", "Accept-Language: fr")
		w.get("http://h/gone")
		synctest.Wait()
		if _, err := w.Operate(t.Context(), "purge", map[string]string{"url": "h/gone"}); err != nil {
			t.Error(err)
		}
		if v := w.Shown().(view); v.DiskFiles != 4 || v.DiskBytes == 0 || v.DiskFaults != 0 {
			t.Errorf("%+v", v)
		}
	})
	onFile(t, folder, "", o, func(w *world) {
		g := w.get("http://h/", `If-None-Match: "a"`)
		if g.status != 304 {
			t.Errorf("after a restart: %d", g.status)
		}
		g = w.get("http://h/")
		w.want("after a restart", g, "page ", "hit")
		if g.field("X-Odd") != "\xff\xfe" {
			t.Errorf("a field is changed: %q", g.field("X-Odd"))
		}
		w.want("de", w.get("http://h/v", de), "page de", "hit")
		w.want("it", w.get("http://h/v", "Accept-Language: it"), "page it", "fwd=vary-miss")
		w.want("purged before", w.get("http://h/gone"), "page ", "fwd=uri-miss")
		if result, err := w.Operate(t.Context(), "purge", map[string]string{"tag": "x"}); err != nil || result.(purged).Purged < 4 {
			t.Errorf("purge by tag: %v, %v", result, err)
		}
		w.want("purged", w.get("http://h/"), "page ", "fwd=uri-miss")
	})
	onFile(t, folder, "key: {headers: [X-A]}", o, func(w *world) {
		w.want("other rules", w.get("http://h/"), "page ", "fwd=uri-miss")
	})
	if folders, _ := os.ReadDir(folder); len(folders) != 1 {
		t.Errorf("%d folders: that of other rules stays", len(folders))
	}
}

func TestBrokenFileIsAMiss(t *testing.T) {
	folder := t.TempDir()
	o := says(200, "page #", fresh)
	onFile(t, folder, "", o, func(w *world) { w.get("http://h/") })
	filepath.WalkDir(folder, func(path string, e os.DirEntry, _ error) error {
		if !e.IsDir() {
			content, _ := os.ReadFile(path)
			content[len(content)-1] ^= 1
			os.WriteFile(path, content, 0o600)
		}
		return nil
	})
	onFile(t, folder, "", o, func(w *world) {
		w.want("broken", w.get("http://h/"), "page 1", "fwd=uri-miss; stored")
	})
	onFile(t, folder, "", o, func(w *world) {
		w.want("written anew", w.get("http://h/"), "page 1", "hit")
	})
}

func TestDiskThatCannotBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	decoded, problems := filtertest.Decode(t, Definition(), "disk: {path: "+file+"}")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	_, err := Definition().Build(decoded, (&filtertest.House{}).Env(t), &filtertest.Next{})
	if err == nil || !strings.Contains(err.Error(), "name one that Weir may write to") {
		t.Errorf("%v", err)
	}
}

func TestEncoding(t *testing.T) {
	o := &object{
		key: store.Key{1}, labels: labelsOf("h/a", []string{"\xff", "b"}), status: 203, body: []byte("content"),
		header: filtertest.Header("X-A: 1", "ETag: \"a\"", "X-B: \xff"), received: time.Now().Round(0),
	}
	o.terms.Lifetime, o.terms.ForCookies = time.Minute, true
	got, ok := decode(o.key, encode(o))
	if !ok || got.status != 203 || string(got.body) != "content" || got.terms != o.terms || !got.received.Equal(o.received) ||
		strings.Join(got.labels, "|") != strings.Join(o.labels, "|") || strings.Join(filtertest.Lines(&got.header), "|") != strings.Join(filtertest.Lines(&o.header), "|") {
		t.Errorf("%+v, %v", got, ok)
	}
	if id := got.header.Fields()[1].ID; id != stream.ETag {
		t.Errorf("the id of ETag is %d", id)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(&object{labels: labelsOf("h/", nil), status: 200, body: []byte("x")}))
	f.Add([]byte{0, 0, 0, 2, '{', '}'})
	f.Fuzz(func(t *testing.T, content []byte) {
		if o, ok := decode(store.Key{}, content); ok && (len(o.labels) == 0 || o.Weight() == 0) {
			t.Error("an object without a URL")
		}
	})
}
