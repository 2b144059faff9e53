package compress

import (
	"fmt"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/stream"
)

// Settings of the filter compress.
type Settings struct {
	// Responses says which responses are compressed, and how.
	Responses Responses `yaml:"responses" json:"responses"`
	// Requests says whether compressed requests are decoded for the upstream.
	Requests Requests `yaml:"requests" json:"requests"`
}

// Responses says which responses are compressed, and how.
type Responses struct {
	// Encodings that may be used, the first liked best where the client accepts
	// several equally. An empty list leaves responses alone.
	Encodings []string `yaml:"encodings" json:"encodings" enum:"zstd,br,gzip"`
	// ContentTypes that are worth it. "*" stands for any letters behind the "/":
	// text/*, application/*+json.
	ContentTypes []string `yaml:"content_types" json:"content_types"`
	// MinLength is the length from which a response is compressed. One whose
	// length is not known in advance always is.
	MinLength config.Size `yaml:"min_length" json:"min_length"`
	// EventStreams also compresses text/event-stream, each event at once.
	EventStreams bool `yaml:"event_streams" json:"event_streams"`
	// Levels are the efforts of the encodings.
	Levels Levels `yaml:"levels" json:"levels"`
	// Upstream says whether the upstream sees Accept-Encoding: pass lets it
	// compress by itself, strip has it send plain content.
	Upstream string `yaml:"upstream" json:"upstream" enum:"pass,strip"`
	// MaxActive is how many responses are compressed at a time; those beyond it
	// are sent as they are.
	MaxActive int `yaml:"max_active" json:"max_active" min:"1" max:"1000000"`
}

// Levels are the efforts of the encodings: the higher, the smaller and slower.
type Levels struct {
	// Gzip is the level of gzip.
	Gzip int `yaml:"gzip" json:"gzip" min:"1" max:"9"`
	// Br is the quality of Brotli.
	Br int `yaml:"br" json:"br" min:"0" max:"9"`
	// Zstd is the level of Zstandard.
	Zstd int `yaml:"zstd" json:"zstd" min:"1" max:"11"`
}

// Requests says whether compressed requests are decoded for the upstream.
type Requests struct {
	// Decode decodes requests in gzip, br and zstd. Other codings, and more than
	// one, are refused.
	Decode bool `yaml:"decode" json:"decode"`
	// MaxBytes is the largest decoded content.
	MaxBytes config.Size `yaml:"max_bytes" json:"max_bytes" min:"1"`
	// MaxRatio is how many times larger than its encoded form content may get;
	// its first 64 KiB are not judged.
	MaxRatio int `yaml:"max_ratio" json:"max_ratio" min:"1" max:"1000000"`
	// MaxWindow is how far back encoded content may refer: the memory that a
	// decoder takes.
	MaxWindow config.Size `yaml:"max_window" json:"max_window" min:"1024" max:"134217728"`
}

const upstreamStrip = "strip"

func defaults() Settings {
	return Settings{
		Responses: Responses{
			Encodings: []string{"zstd", "br", "gzip"},
			ContentTypes: []string{
				"text/*", "application/json", "application/*+json", "application/javascript", "application/xml",
				"application/*+xml", "application/wasm", "image/svg+xml",
			},
			MinLength: 1 << 10,
			Levels:    Levels{Gzip: 5, Br: 4, Zstd: 1},
			Upstream:  "pass",
			MaxActive: 500,
		},
		Requests: Requests{MaxBytes: 10 << 20, MaxRatio: 100, MaxWindow: 8 << 20},
	}
}

// maxTypes bounds the search per response.
const maxTypes = 100

func check(s *Settings, report *config.Report) {
	if len(s.Responses.Encodings) == 0 && !s.Requests.Decode {
		report.Warnf("", "name responses.encodings, set requests.decode, or remove the filter", "the filter changes nothing")
	}
	checkResponses(&s.Responses, report.Below("responses"))
}

func checkResponses(s *Responses, report *config.Report) {
	for i, name := range s.Encodings {
		for _, before := range s.Encodings[:i] {
			if name == before {
				report.Errorf(fmt.Sprintf("encodings[%d]", i), "name it once", "%s stands in the list twice", name)
				break
			}
		}
	}
	if len(s.ContentTypes) > maxTypes {
		report.Errorf("content_types", "use patterns such as text/*", "%d content types, more than %d", len(s.ContentTypes), maxTypes)
		return
	}
	for i, pattern := range s.ContentTypes {
		if !isTypePattern(pattern) {
			report.Errorf(fmt.Sprintf("content_types[%d]", i), "write a type such as application/json, text/* or application/*+json",
				"%q is no content type", pattern)
		}
	}
}

// isTypePattern accepts type "/" subtype, with at most one "*", in the subtype.
func isTypePattern(s string) bool {
	main, sub, found := strings.Cut(s, "/")
	return found && stream.IsToken(main) && !strings.Contains(main, "*") && stream.IsToken(sub) && strings.Count(sub, "*") <= 1
}
