package fault

import (
	"strings"
	"time"

	"github.com/weirproxy/weir/config"
)

// wish is which faults a request is to meet.
type wish struct {
	delay, abort bool
	pause        time.Duration // of the delay, when given; else 0: as the settings say
}

// parseWish reads what a request asks for by its header: "none", or a list of
// "delay", "delay=250ms" and "abort". What is not understood as a whole is no
// wish: a request that carries something else in that field is like any other.
func parseWish(text string) (w wish, ok bool) {
	text = strings.Trim(text, " \t")
	if text == "none" {
		return wish{}, true
	}
	for more := true; more; {
		var word string
		word, text, more = strings.Cut(text, ",")
		word = strings.Trim(word, " \t")
		pause, timed := strings.CutPrefix(word, "delay=")
		switch {
		case word == "abort" && !w.abort:
			w.abort = true
		case word == "delay" && !w.delay:
			w.delay = true
		case timed && !w.delay:
			var d config.Duration
			if len(pause) > longestPause || d.UnmarshalText([]byte(pause)) != nil || d == 0 {
				return wish{}, false
			}
			w.delay, w.pause = true, time.Duration(d)
		default:
			return wish{}, false
		}
	}
	return w, true
}

// longestPause bounds the text of a time in a request.
const longestPause = 20
