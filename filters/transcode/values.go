package transcode

import (
	"errors"
	"io"

	"github.com/weirproxy/weir/stream"
)

// values reads the JSON values of a request that streams: those of one array,
// or one behind another (newline-delimited JSON). It finds where a value ends;
// whether it is one, the decoder of the value says.
type values struct {
	body  stream.Body
	max   int
	buf   []byte
	at    int // buf[:at] was handed out
	end   error
	array bool // "[" was read
	state valuesState
}

type valuesState uint8

const (
	beforeFirst valuesState = iota
	afterOpen               // behind "["
	afterValue
	afterAll // behind "]"
)

var (
	errValuesRest  = errors.New("something follows the end of the array")
	errValuesComma = errors.New(`"," or "]" is missing between two values`)
	errValuesEnd   = errors.New("the JSON ends too early")
	errValuesClose = errors.New("a value is missing")
)

// next is the text of the next value, valid until the call after; io.EOF: there
// is none. Other errors are faults, or tell the client what is wrong.
func (v *values) next() ([]byte, error) {
	c, err := v.peek()
	if err != nil {
		return nil, v.ended(err)
	}
	if v.state == beforeFirst && c == '[' {
		v.array, v.state = true, afterOpen
		v.at++
		if c, err = v.peek(); err != nil {
			return nil, v.ended(err)
		}
	}
	if v.array {
		done, err := v.separator(c)
		if err != nil || done {
			return nil, err
		}
	}
	text, err := v.value()
	v.state = afterValue
	return text, err
}

// ended turns the end of the body into the end of the values, or into an error.
func (v *values) ended(err error) error {
	if err == io.EOF && v.array && v.state != afterAll { //nolint:errorlint // the contract of stream.Body
		return errValuesEnd
	}
	return err
}

// separator reads what stands between the values of an array.
func (v *values) separator(c byte) (done bool, err error) {
	switch {
	case v.state == afterAll:
		return false, errValuesRest
	case c == ']':
		v.at++
		v.state = afterAll
		if _, err := v.peek(); err != nil {
			return true, err // io.EOF, as it should be
		}
		return false, errValuesRest
	case v.state == afterOpen:
		return false, nil
	case c != ',':
		return false, errValuesComma
	}
	v.at++
	if c, err = v.peek(); err != nil {
		return false, v.ended(err)
	}
	if c == ']' || c == ',' {
		return false, errValuesClose
	}
	return false, nil
}

// peek is the next byte that is no blank.
func (v *values) peek() (byte, error) {
	for {
		for ; v.at < len(v.buf); v.at++ {
			if c := v.buf[v.at]; c != ' ' && c != '\t' && c != '\n' && c != '\r' {
				return c, nil
			}
		}
		v.buf, v.at = v.buf[:0], 0
		if err := v.fill(); err != nil {
			return 0, err
		}
	}
}

// value reads to the end of the value that begins here.
func (v *values) value() ([]byte, error) {
	var in inside
	for n := 0; ; n++ {
		if n > v.max {
			return nil, &stream.Fault{Kind: stream.BodyTooLarge, Limit: "transcode.max_message"}
		}
		if v.at+n == len(v.buf) {
			if err := v.fill(); err == io.EOF && n > 0 && in == (inside{}) { //nolint:errorlint // the contract of stream.Body
				return v.take(n), nil // a scalar that the end of the body ends
			} else if err != nil {
				return nil, broken(err)
			}
		}
		switch in.step(v.buf[v.at+n]) {
		case endsWith:
			return v.take(n + 1), nil
		case endsBefore:
			if n == 0 {
				return nil, errValuesClose
			}
			return v.take(n), nil
		}
	}
}

// inside is what surrounds the next byte of a value. The zero value: nothing.
type inside struct {
	depth           int // of objects and arrays
	quoted, escaped bool
}

type boundary uint8

const (
	goesOn     boundary = iota
	endsWith            // this byte is the last of the value
	endsBefore          // this byte is not of the value
)

func (in *inside) step(c byte) boundary {
	switch {
	case in.escaped:
		in.escaped = false
		return goesOn
	case in.quoted:
		in.escaped, in.quoted = c == '\\', c != '"'
		return in.closed()
	}
	switch c {
	case '"':
		in.quoted = true
	case '{', '[':
		in.depth++
	case '}', ']':
		if in.depth == 0 { // of the array around it
			return endsBefore
		}
		in.depth--
		return in.closed()
	case ',', ' ', '\t', '\n', '\r':
		if in.depth == 0 {
			return endsBefore
		}
	}
	return goesOn
}

// closed: behind a text or a bracket, the value is complete when nothing is around it.
func (in *inside) closed() boundary {
	if *in == (inside{}) {
		return endsWith
	}
	return goesOn
}

func broken(err error) error {
	if err == io.EOF { //nolint:errorlint // the contract of stream.Body
		return errValuesEnd
	}
	return err
}

func (v *values) take(n int) []byte {
	text := v.buf[v.at : v.at+n]
	v.at += n
	return text
}

// fill reads more behind what is there.
func (v *values) fill() error {
	if v.end != nil {
		return v.end
	}
	if v.at > 0 {
		v.buf = v.buf[:copy(v.buf, v.buf[v.at:])]
		v.at = 0
	}
	if len(v.buf) == cap(v.buf) {
		grown := make([]byte, len(v.buf), max(firstRead, 2*cap(v.buf)))
		copy(grown, v.buf)
		v.buf = grown
	}
	for {
		n, err := v.body.Read(v.buf[len(v.buf):cap(v.buf)])
		v.buf, v.end = v.buf[:len(v.buf)+n], err
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
