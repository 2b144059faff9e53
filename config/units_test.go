package config_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weirproxy/weir/config"
)

func TestDuration(t *testing.T) {
	for text, want := range map[string]string{
		"15s": "15s", "0": "0s", "250ms": "250ms", "90s": "1m30s", "60m": "1h", "1h30m": "1h30m", "1d": "24h", "1d12h": "36h",
		"1.5s": "1.5s", "1h0m1s": "1h0m1s",
		"": "", "15": "", "1.5": "", "-1s": "", "+1s": "", "d": "", "1d0": "", "1d-1h": "", "1w": "", "s": "", "1d1d": "",
		"9999999h": "", "65536d": "", "NaN": "",
	} {
		var d config.Duration
		err := d.UnmarshalText([]byte(text))
		if (err != nil) != (want == "") || err == nil && d.String() != want {
			t.Errorf("%q: %v, %v; want %q", text, d, err, want)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]string{
		"0": "0", "512": "512", "1024": "1KiB", "64KiB": "64KiB", "64 KiB": "64KiB", "1000": "1KB", "10MB": "10MB", "1GiB": "1GiB", "7B": "7",
		"": "", "KiB": "", "64k": "", "64kb": "", "-1": "", "1.5MiB": "", "64  KiB": "", "9999999999GiB": "", "99999999999999999999": "",
	} {
		var s config.Size
		err := s.UnmarshalText([]byte(text))
		if (err != nil) != (want == "") || err == nil && s.String() != want {
			t.Errorf("%q: %v, %v; want %q", text, s, err, want)
		}
	}
}

func TestRate(t *testing.T) {
	for text, good := range map[string]bool{
		"100/s": true, "1/m": true, "5000/h": true, "9/d": true,
		"": false, "100": false, "0/s": false, "/s": false, "1/": false, "1/ms": false, "-1/s": false, "1.5/s": false, "99999999999/s": false,
	} {
		var r config.Rate
		err := r.UnmarshalText([]byte(text))
		if (err == nil) != good || good && r.String() != text {
			t.Errorf("%q: %v, %v", text, r, err)
		}
	}
}

func TestUnitsReadBackWhatTheyPrint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := config.Duration(rapid.Int64Range(0, int64(1000*time.Hour)).Draw(t, "duration"))
		s := config.Size(rapid.Int64Min(0).Draw(t, "size"))
		var d2 config.Duration
		var s2 config.Size
		if err := d2.UnmarshalText([]byte(d.String())); err != nil || d2 != d {
			t.Errorf("%v reads back as %v, %v", d, d2, err)
		}
		if err := s2.UnmarshalText([]byte(s.String())); err != nil || s2 != s {
			t.Errorf("%v reads back as %v, %v", s, s2, err)
		}
	})
}

func TestSecretPrintsTheReference(t *testing.T) {
	s := config.Secret{File: "site.key"}
	text, err := json.Marshal(s)
	if err != nil || string(text) != `{"file":"site.key"}` || fmt.Sprint(s) != "file:site.key" {
		t.Errorf("%s %v %v", text, s, err)
	}
}

func TestSuggest(t *testing.T) {
	names := []string{"timeout", "timeouts", "retry", "to"}
	for text, want := range map[string]string{
		"timout": "timeout", "tiemout": "timeout", "retyr": "retry", "tos": "to", "completely_else": "", "": "",
		strings.Repeat("x", 1000): "",
	} {
		if want != "" {
			want = `did you mean "` + want + `"?`
		}
		if got := config.Suggest(text, names); got != want {
			t.Errorf("%.20q: %s, want %s", text, got, want)
		}
	}
}
