package compile

import (
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
)

// matchGRPC turns a condition on gRPC calls into the conditions that it stands
// for: a call is a POST to /package.Service/Method.
func matchGRPC(spec *config.Match, m *snapshot.Match, r *config.Report) {
	for _, other := range []part{{path: "path", written: spec.Path != config.PathMatch{}}, {path: "methods", written: len(spec.Methods) > 0}} {
		if other.written {
			r.Errorf(other.path, "remove it, or make two routes", "match.grpc stands for %s: a call is a POST to /package.Service/Method", other.path)
		}
	}
	service, method := spec.GRPC.Service, spec.GRPC.Method
	if service != "" && !isServiceName(service) {
		r.Errorf("grpc.service", "write it as in the .proto file: package.Service", "%q is no name of a gRPC service", service)
		return
	}
	if method != "" && !isTemplateName(method) {
		r.Errorf("grpc.method", "write it as in the .proto file, without the service", "%q is no name of a gRPC method", method)
		return
	}
	m.GRPC, m.Methods = true, []string{"POST"}
	switch {
	case service != "" && method != "":
		m.Path = snapshot.Path{Kind: snapshot.PathExact, Text: "/" + service + "/" + method}
	case service != "":
		m.Path = snapshot.Path{Kind: snapshot.PathPrefix, Text: "/" + service}
	case method != "":
		m.Path = snapshot.Path{Kind: snapshot.PathTemplate, Text: "/{service}/" + method, Segments: []snapshot.Segment{{Name: "service"}, {Literal: method}}}
	}
}

// isServiceName takes names joined by dots, as protobuf has them; one without a
// package too.
func isServiceName(text string) bool {
	for _, name := range strings.Split(text, ".") {
		if !isTemplateName(name) {
			return false
		}
	}
	return true
}
