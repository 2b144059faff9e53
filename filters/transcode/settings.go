package transcode

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
)

// Settings of the filter transcode.
type Settings struct {
	// Descriptors describe the services: the methods, their messages and their
	// annotations.
	Descriptors *Descriptors `yaml:"descriptors" json:"descriptors"`
	// Reflection asks the upstream of the route to describe its services, by gRPC
	// server reflection.
	Reflection bool `yaml:"reflection" json:"reflection"`
	// Services are the full names of the services to serve; empty: all.
	Services []string `yaml:"services" json:"services"`
	// EmitUnpopulated also writes fields that have no value.
	EmitUnpopulated bool `yaml:"emit_unpopulated" json:"emit_unpopulated"`
	// UseProtoNames writes fields by their names in the .proto file
	// (display_name) instead of displayName. Both are read.
	UseProtoNames bool `yaml:"use_proto_names" json:"use_proto_names"`
	// IgnoreUnknownQuery lets query parameters be that no field is named after.
	IgnoreUnknownQuery bool `yaml:"ignore_unknown_query" json:"ignore_unknown_query"`
	// MaxMessage is the largest message, as JSON and as protobuf, in both
	// directions.
	MaxMessage config.Size `yaml:"max_message" json:"max_message" min:"1" max:"1073741824"`
	// AutoMapping serves methods without an annotation as POST
	// /package.Service/Method, the content being the message.
	AutoMapping bool `yaml:"auto_mapping" json:"auto_mapping"`
	// Unmatched is what becomes of requests that match no method: pass sends
	// them on as they are, 404 refuses them.
	Unmatched string `yaml:"unmatched" json:"unmatched" enum:"pass,404"`
	// Content of Descriptors.File.
	Content []byte `yaml:"-" json:"-"`
}

// Descriptors describe services.
type Descriptors struct {
	// File is a FileDescriptorSet as protoc --descriptor_set_out
	// --include_imports writes it.
	File string `yaml:"file" json:"file" required:"true"`
}

const (
	unmatchedRefuse = "404"
	maxServices     = 1000
	// maxShown is how many problems of one file are reported.
	maxShown = 10
)

func defaults() Settings { return Settings{MaxMessage: 4 << 20, Unmatched: "pass"} }

// options are the settings that the request path reads.
type options struct {
	services           []string
	emitUnpopulated    bool
	useProtoNames      bool
	ignoreUnknownQuery bool
	autoMapping        bool
	maxMessage         int
}

func optionsOf(s *Settings) options {
	return options{
		services: s.Services, emitUnpopulated: s.EmitUnpopulated, useProtoNames: s.UseProtoNames,
		ignoreUnknownQuery: s.IgnoreUnknownQuery, autoMapping: s.AutoMapping, maxMessage: int(s.MaxMessage),
	}
}

func check(s *Settings, report *config.Report) {
	switch {
	case s.Descriptors == nil && !s.Reflection:
		report.Errorf("", "write descriptors: {file: PATH}, or reflection: true", "the filter knows no service")
	case s.Descriptors != nil && s.Reflection:
		report.Errorf("reflection", "keep one of them", "descriptors and reflection are both set")
	}
	if len(s.Services) > maxServices {
		report.Errorf("services", "leave it empty for all", "%d services, more than %d", len(s.Services), maxServices)
		return
	}
	for i, name := range s.Services {
		if name == "" || strings.ContainsAny(name, "/ *") {
			report.Errorf(fmt.Sprintf("services[%d]", i), "write package.Service", "%q is no name of a service", name)
		}
	}
}

// load reads the file and compiles it, to report what is wrong with it.
func load(s *Settings, read filter.Reader, report *config.Report) {
	if s.Descriptors == nil {
		return
	}
	const at, fix = "descriptors.file", "make it with protoc --descriptor_set_out=FILE --include_imports"
	content, err := read(s.Descriptors.File)
	if err != nil {
		report.Errorf(at, "write a path relative to the document", "descriptors cannot be read: %v", err)
		return
	}
	set, err := parseSet(content)
	if err != nil {
		report.Errorf(at, fix, "%s: %v", s.Descriptors.File, err)
		return
	}
	compiled, problems, err := compile(set, optionsOf(s))
	if err != nil {
		report.Errorf(at, fix, "%s: %v", s.Descriptors.File, err)
		return
	}
	for i, p := range problems {
		if i == maxShown {
			report.Errorf(at, "correct the others first", "%s: %d problems more", s.Descriptors.File, len(problems)-i)
			break
		}
		report.Errorf(at, "correct the annotation in the .proto file, or leave the service out with services", "%s: %s", s.Descriptors.File, p)
	}
	if len(problems) == 0 && compiled.methods == 0 {
		report.Errorf(at, "add google.api.http annotations, name the right services, or set auto_mapping",
			"%s has no method to serve", s.Descriptors.File)
	}
	s.Content = content
}

func parseSet(content []byte) (*descriptorpb.FileDescriptorSet, error) {
	set := &descriptorpb.FileDescriptorSet{}
	if err := (proto.UnmarshalOptions{RecursionLimit: maxDepth}).Unmarshal(content, set); err != nil {
		return nil, fmt.Errorf("it is no FileDescriptorSet: %w", err)
	}
	if len(set.File) == 0 {
		return nil, errors.New("it describes no file")
	}
	return set, nil
}
