package loadstream

import (
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/weirproxy/weir/internal/protofields"
)

// maxReport bounds one message. Reports have some hundred bytes; each measure
// with a name of its own adds about forty.
const maxReport = 64 << 10

// frameHead is the length of what stands in front of a message: whether it is
// compressed, and its length (gRPC over HTTP/2, "Length-Prefixed-Message").
const frameHead = 5

// errNotTaken is what all messages have in common that are not taken.
var errNotTaken = errors.New("not taken")

// refusal is why a message is not taken. It says nothing that the endpoint says.
type refusal string

func (r refusal) Error() string        { return string(r) }
func (r refusal) Is(target error) bool { return target == errNotTaken }

const (
	errCompressed = refusal("a report is compressed, which was not offered")
	errTooLarge   = refusal("a report is larger than 64 KiB")
	errTooMany    = refusal("reports come faster than they were asked for")
	errCutOff     = refusal("the stream ends within a report")
)

// reader splits a stream into messages.
type reader struct {
	from io.Reader
	buf  []byte // grows to the largest message
}

// next is the next message, valid until the next call; io.EOF: the stream has
// ended behind one.
func (r *reader) next() ([]byte, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r.from, head[:]); err != nil {
		return nil, cutOff(err)
	}
	length := binary.BigEndian.Uint32(head[1:])
	switch {
	case head[0] != 0:
		return nil, errCompressed
	case length > maxReport:
		return nil, errTooLarge
	}
	if int(length) > cap(r.buf) {
		r.buf = make([]byte, length)
	}
	message := r.buf[:length]
	if _, err := io.ReadFull(r.from, message); err == io.EOF {
		return nil, errCutOff
	} else if err != nil {
		return nil, cutOff(err)
	}
	return message, nil
}

func cutOff(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errCutOff
	}
	return err
}

// request is an OrcaLoadReportRequest in a frame: report_interval = 1, a Duration
// of seconds = 1 and nanos = 2.
func request(interval time.Duration) []byte {
	duration := protofields.AppendVarint(nil, 1, uint64(interval/time.Second))
	duration = protofields.AppendVarint(duration, 2, uint64(interval%time.Second))
	message := protofields.AppendBytes(nil, 1, duration)
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// pace bounds how many reports are taken: one in each half of an interval, and
// some at once for those that were held up on their way.
type pace struct {
	each time.Duration
	next time.Time // when the bucket is empty, plus burst
}

// burst is how many reports may come at once.
const burst = 10

func newPace(interval time.Duration, now time.Time) pace { return pace{each: interval / 2, next: now} }

func (p *pace) allows(now time.Time) bool {
	if p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(p.each)
	return p.next.Sub(now) <= burst*p.each
}
