package record

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/logline"
	"github.com/weirproxy/weir/internal/redact"
	"github.com/weirproxy/weir/internal/statusset"
	"github.com/weirproxy/weir/stream"
)

// accessLog is the compiled access_log part of a document. It is immutable.
type accessLog struct {
	out    *output // nil: off
	policy *redact.Policy

	template logline.Template // nil: JSON
	headers  []header         // of the JSON format
	inText   []header         // of the template, by part

	sample       float64
	always, only selector

	hideID, hideHost, hideAgent bool
}

// header is a chosen request header field.
type header struct {
	name   string
	key    string // `"name":`, escaped
	hidden bool
}

// selector is a compiled config.LogFilter.
type selector struct {
	set    bool // any condition is there
	status statusset.Set
	slower time.Duration
	faults bool
}

// newLog compiles cfg. It opens an output unless that of old, which may be
// nil, fits.
func (r *Recorder) newLog(cfg Config, old *accessLog) (*accessLog, error) {
	l := &accessLog{policy: redact.New(cfg.Redact.Headers, cfg.Redact.Query), sample: cfg.AccessLog.Sample}
	l.hideID = l.policy.Header("X-Request-Id")
	l.hideHost = l.policy.Header("Host")
	l.hideAgent = l.policy.Header("User-Agent")
	if err := l.setFormat(cfg.AccessLog); err != nil {
		return nil, err
	}
	var err error
	if l.always, err = newSelector(cfg.AccessLog.Always); err != nil {
		return nil, fmt.Errorf("access_log.always: %w", err)
	}
	if l.only, err = newSelector(cfg.AccessLog.Only); err != nil {
		return nil, fmt.Errorf("access_log.only: %w", err)
	}
	to := cfg.AccessLog.To
	switch {
	case to == "off" || to == "":
	case old != nil && old.out != nil && old.out.to == to:
		l.out = old.out
	default:
		if l.out, err = r.open(to); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *accessLog) setFormat(cfg config.AccessLog) error {
	switch cfg.Format {
	case "json", "":
	case "text":
		text := cfg.Template
		if text == "" {
			text = logline.DefaultTemplate
		}
		var err error
		if l.template, err = logline.Parse(text); err != nil {
			return fmt.Errorf("access_log.template: %w", err)
		}
		l.inText = make([]header, len(l.template))
		for i, part := range l.template {
			if part.Header != "" {
				l.inText[i] = l.header(part.Header)
			}
		}
	default:
		return fmt.Errorf("access_log.format %q is neither json nor text", cfg.Format)
	}
	for _, name := range cfg.Headers {
		l.headers = append(l.headers, l.header(name))
	}
	return nil
}

func (l *accessLog) header(name string) header {
	key := append(logline.AppendJSON([]byte{'"'}, lower(name)), '"', ':')
	return header{name: name, key: string(key), hidden: l.policy.Header(name)}
}

func newSelector(cfg config.LogFilter) (selector, error) {
	status, err := statusset.Parse(cfg.Status)
	return selector{
		set:    len(cfg.Status) > 0 || cfg.SlowerThan > 0 || cfg.Faults,
		status: status,
		slower: time.Duration(cfg.SlowerThan),
		faults: cfg.Faults,
	}, err
}

func (s *selector) has(x *stream.Exchange, total time.Duration) bool {
	return s.set && (s.status.Has(x.Status) ||
		s.slower > 0 && total >= s.slower ||
		s.faults && x.Fault != nil)
}

// wants tells whether an exchange gets a line. The sample is random and not
// made from the request id, which a client may choose.
func (l *accessLog) wants(x *stream.Exchange, total time.Duration) bool {
	switch {
	case l.out == nil:
		return false
	case l.only.set && !l.only.has(x, total):
		return false
	case l.sample >= 1 || l.always.has(x, total):
		return true
	}
	return l.sample > 0 && rand.Float64() < l.sample
}
