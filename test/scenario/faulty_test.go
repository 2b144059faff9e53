package scenario

import (
	"context"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/stream"
)

// faultySettings say where the filter panics.
type faultySettings struct {
	At string `yaml:"at" json:"at" enum:"request,response,body"`
}

// faulty is a filter with a defect, as a custom build may have one.
func faulty() filter.Definition {
	return filter.Define(filter.Spec[faultySettings]{
		Name: "faulty", Stage: filter.Protect, Status: filter.Experimental, Trust: filter.HostileBoth,
		Default: func() faultySettings { return faultySettings{At: "request"} },
		Check:   func(*faultySettings, *config.Report) {},
		Build: func(s faultySettings, _ filter.Env, next stream.Service) (stream.Service, error) {
			return stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
				if s.At == "request" {
					panic("defect in the request half")
				}
				resp, err := next.Serve(ctx, req)
				if s.At == "response" {
					panic("defect in the response half")
				}
				if err == nil {
					resp.Length, resp.Body = -1, faultyBody{resp.Body}
				}
				return resp, err
			}), nil
		},
	})
}

type faultyBody struct{ stream.Body }

func (faultyBody) Read([]byte) (int, error) { panic("defect in the body") }
