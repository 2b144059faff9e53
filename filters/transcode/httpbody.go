package transcode

import (
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// google.api.HttpBody is content of any type: content_type = 1, data = 2.
func isHTTPBody(d protoreflect.MessageDescriptor) bool {
	if d == nil || d.FullName() != "google.api.HttpBody" {
		return false
	}
	media, data := d.Fields().ByNumber(1), d.Fields().ByNumber(2)
	return media != nil && media.Kind() == protoreflect.StringKind && !media.IsList() &&
		data != nil && data.Kind() == protoreflect.BytesKind && !data.IsList()
}

func setHTTPBody(m protoreflect.Message, contentType string, content []byte) {
	fields := m.Descriptor().Fields()
	m.Set(fields.ByNumber(1), protoreflect.ValueOfString(contentType))
	m.Set(fields.ByNumber(2), protoreflect.ValueOfBytes(slices.Clone(content)))
}

func httpBody(m protoreflect.Message) (contentType string, content []byte) {
	fields := m.Descriptor().Fields()
	return m.Get(fields.ByNumber(1)).String(), m.Get(fields.ByNumber(2)).Bytes()
}
