package record

import (
	"strings"

	"github.com/weirproxy/weir/internal/grpcstatus"
	"github.com/weirproxy/weir/internal/logline"
	"github.com/weirproxy/weir/stream"
)

// callOf is the service and the method of a gRPC call: "/package.Service/Method"
// as the upstream was asked for it, behind rewrites and filters. Both are ""
// for a path of another form.
func callOf(req *stream.Request) (service, method string) {
	path, ok := strings.CutPrefix(req.Target.Path, "/")
	if !ok {
		return "", ""
	}
	service, method, ok = strings.Cut(path, "/")
	if !ok || strings.Contains(method, "/") {
		return "", ""
	}
	return service, method
}

// grpcValue is the value of a field that only gRPC calls have.
func grpcValue(f logline.Field, req *stream.Request) value {
	switch f {
	case logline.GRPCService:
		service, _ := callOf(req)
		return textValue(service)
	case logline.GRPCMethod:
		_, method := callOf(req)
		return textValue(method)
	case logline.GRPCStatus:
		if status := req.Exchange.GRPCStatus; status != 0 {
			return value{kind: own, text: grpcstatus.Name(status - 1)}
		}
	}
	return value{}
}

// grpcCodes are the values of the code label of gRPC calls, by
// Exchange.GRPCStatus: none (the call was cut, or no gRPC server answered it),
// the names of the codes, and other for numbers without a name.
const (
	grpcOther    = grpcstatus.NumCodes + 1
	numGRPCCodes = int(grpcOther) + 1
)

func grpcCode(status uint8) string {
	switch {
	case status == 0:
		return noneName
	case status >= grpcOther:
		return otherName
	}
	return grpcstatus.Name(status - 1)
}
