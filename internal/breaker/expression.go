package breaker

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Expression says when a breaker opens, in the words of the document:
//
//	error_ratio > 0.3 || latency(0.99) > 1s && requests >= 100
//
// error_ratio is the share of requests that failed, by a fault or by a status
// of 5xx; fault_ratio the share without any response; latency(q) the time until
// the head of a response that a share q of the responses did not exceed;
// requests how many there were. && binds closer than ||; there are parentheses.
type Expression struct {
	root     node
	quantile float64 // of latency, the only one; 0: not asked for
	text     string
}

// Facts are what an Expression goes by.
type Facts struct {
	Requests               int64
	ErrorRatio, FaultRatio float64
	Latency                time.Duration
}

type node interface{ holds(f *Facts) bool }

type either struct{ nodes []node }

func (n either) holds(f *Facts) bool {
	for _, n := range n.nodes {
		if n.holds(f) {
			return true
		}
	}
	return false
}

type both struct{ nodes []node }

func (n both) holds(f *Facts) bool {
	for _, n := range n.nodes {
		if !n.holds(f) {
			return false
		}
	}
	return true
}

type comparison struct {
	value func(f *Facts) float64
	above bool // > or >=, else < or <=
	equal bool // >= or <=
	limit float64
}

func (c comparison) holds(f *Facts) bool {
	v := c.value(f)
	switch {
	case v == c.limit:
		return c.equal
	case c.above:
		return v > c.limit
	}
	return v < c.limit
}

// String is the text.
func (e *Expression) String() string { return e.text }

// Holds tells whether the breaker is to open.
func (e *Expression) Holds(f *Facts) bool { return e.root.holds(f) }

// maxText and maxDepth bound what is parsed.
const (
	maxText  = 1000
	maxDepth = 20
)

// Parse reads an Expression.
func Parse(text string) (*Expression, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("it is longer than %d bytes", maxText)
	}
	p := &parser{rest: text, expression: &Expression{text: text}}
	root, err := p.either(0)
	if err != nil {
		return nil, err
	}
	if p.space(); p.rest != "" {
		return nil, fmt.Errorf("%q is left over; join conditions with && or ||", p.rest)
	}
	p.expression.root = root
	return p.expression, nil
}

type parser struct {
	rest       string
	expression *Expression
}

func (p *parser) space() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

// take reads one of the words, if it is next.
func (p *parser) take(words ...string) string {
	p.space()
	for _, word := range words {
		if rest, ok := strings.CutPrefix(p.rest, word); ok {
			p.rest = rest
			return word
		}
	}
	return ""
}

func (p *parser) either(depth int) (node, error) {
	return p.list("||", depth, p.both, func(nodes []node) node { return either{nodes} })
}

func (p *parser) both(depth int) (node, error) {
	return p.list("&&", depth, p.condition, func(nodes []node) node { return both{nodes} })
}

func (p *parser) list(word string, depth int, next func(int) (node, error), join func([]node) node) (node, error) {
	var nodes []node
	for {
		n, err := next(depth)
		if err != nil {
			return nil, err
		}
		if nodes = append(nodes, n); p.take(word) == "" {
			break
		}
	}
	if len(nodes) == 1 {
		return nodes[0], nil
	}
	return join(nodes), nil
}

func (p *parser) condition(depth int) (node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("there are more than %d parentheses in each other", maxDepth)
	}
	if p.take("(") != "" {
		n, err := p.either(depth + 1)
		if err == nil && p.take(")") == "" {
			err = fmt.Errorf("a parenthesis is not closed before %q", p.rest)
		}
		return n, err
	}
	name := p.take("error_ratio", "fault_ratio", "latency", "requests")
	if name == "" {
		return nil, fmt.Errorf("%q begins no condition; there are error_ratio, fault_ratio, latency(0.99) and requests", p.rest)
	}
	c := comparison{value: values[name]}
	if name == "latency" {
		if err := p.ofQuantile(); err != nil {
			return nil, err
		}
	}
	op := p.take(">=", "<=", ">", "<")
	if op == "" {
		return nil, fmt.Errorf("%s is compared with nothing; write >, >=, < or <= and a value", name)
	}
	c.above, c.equal = op[0] == '>', len(op) == 2
	var err error
	c.limit, err = p.limit(name)
	return c, err
}

var values = map[string]func(f *Facts) float64{
	"error_ratio": func(f *Facts) float64 { return f.ErrorRatio },
	"fault_ratio": func(f *Facts) float64 { return f.FaultRatio },
	"latency":     func(f *Facts) float64 { return f.Latency.Seconds() },
	"requests":    func(f *Facts) float64 { return float64(f.Requests) },
}

// ofQuantile reads (q).
func (p *parser) ofQuantile() error {
	if p.take("(") == "" {
		return fmt.Errorf("latency needs a quantile; write latency(0.99)")
	}
	text, rest, closed := strings.Cut(p.rest, ")")
	q, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if !closed || err != nil || !(q > 0 && q < 1) {
		return fmt.Errorf("latency(%s is no quantile between 0 and 1; write latency(0.99)", text)
	}
	if p.expression.quantile != 0 && p.expression.quantile != q {
		return fmt.Errorf("latency has two quantiles, %v and %v; use one", p.expression.quantile, q)
	}
	p.rest, p.expression.quantile = rest, q
	return nil
}

// limit reads a number or, for latency, a time.
func (p *parser) limit(name string) (float64, error) {
	p.space()
	end := strings.IndexAny(p.rest, " \t\r\n)&|")
	if end < 0 {
		end = len(p.rest)
	}
	text := p.rest[:end]
	p.rest = p.rest[end:]
	if name == "latency" {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return 0, fmt.Errorf("latency is compared with %q, which is no time; write for example 500ms", text)
		}
		return d.Seconds(), nil
	}
	v, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || !(v >= 0):
		return 0, fmt.Errorf("%s is compared with %q, which is no number", name, text)
	case name != "requests" && v > 1:
		return 0, fmt.Errorf("%s is a share, from 0 to 1, and compared with %v", name, v)
	}
	return v, nil
}
