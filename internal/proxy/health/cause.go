package health

import (
	"errors"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// causeOf is the class of what a check says.
func causeOf(err error) endpoint.Cause {
	var late *tooLate
	var status *badStatus
	var old *expired
	var fault *stream.Fault
	switch {
	case errors.As(err, &late):
		return endpoint.ByTimeout
	case errors.As(err, &status):
		return endpoint.ByStatus
	case errors.As(err, &old):
		return endpoint.ByHandshake
	case errors.As(err, &fault):
		switch fault.Kind {
		case stream.TLSFailed:
			return endpoint.ByHandshake
		case stream.ConnectRefused, stream.ConnectFailed, stream.NameUnresolved:
			return endpoint.ByConnect
		case stream.ConnectTimeout, stream.UpstreamTimeout:
			return endpoint.ByTimeout
		}
	}
	return endpoint.ByAnswer
}
