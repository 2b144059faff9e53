package compile

import (
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/stream"
)

func checkRewrite(spec *config.Route, r *config.Report) {
	rewrite := spec.Rewrite
	replacementHost(rewrite.Host, "host", r)
	switch {
	case rewrite.Prefix != nil && rewrite.Path != nil:
		r.Errorf("path", "keep one", "rewrite has prefix and path")
		return
	case rewrite.Prefix == nil && rewrite.Path == nil && rewrite.Host == "":
		r.Warnf("", "add prefix, path or host, or remove it", "rewrite changes nothing")
	}
	checkReplacement(spec, rewrite.Prefix, rewrite.Path, r)
}

func checkRedirect(spec *config.Route, r *config.Report) {
	redirect := spec.Redirect
	replacementHost(redirect.Host, "host", r)
	if redirect.Prefix != nil && redirect.Path != nil {
		r.Errorf("path", "keep one", "redirect has prefix and path")
		return
	}
	checkReplacement(spec, redirect.Prefix, redirect.Path, r)
	if redirect.Scheme == "" && redirect.Host == "" && redirect.Port == 0 && redirect.Prefix == nil && redirect.Path == nil {
		r.Errorf("", "add scheme, host, port, prefix or path", "the redirect leads to where the request came from")
	}
}

// checkReplacement checks what a rewrite or redirect puts in the place of the
// prefix or of the whole path.
func checkReplacement(spec *config.Route, prefix, path *string, r *config.Report) {
	if prefix != nil {
		if spec.Match.Path.Prefix == "" {
			r.Errorf("prefix", "add match: {path: {prefix: ...}}, or write path", "prefix replaces what match.path.prefix took, and the route has none")
		}
		if *prefix != "" { // "" is "/": the prefix is cut off
			checkLiteralPath(*prefix, "prefix", r)
		}
	}
	if path == nil {
		return
	}
	if !strings.Contains(*path, "{") {
		checkLiteralPath(*path, "path", r)
		return
	}
	checkTemplateUse(spec.Match.Path.Template, *path, r)
}

// checkTemplateUse checks the {name}s of a replacement against the template
// that the route matches.
func checkTemplateUse(template, text string, r *config.Report) {
	const fix = "use the names of match.path.template"
	if template == "" {
		r.Errorf("path", fix, "path %q has a {name}, and the route has no match.path.template", text)
		return
	}
	matched, err := parseTemplate(template)
	if err != nil {
		return // reported where it stands
	}
	used, err := parseTemplate(text)
	if err != nil {
		r.Errorf("path", "write for example /v2/{id}", "path %q: %v", text, err)
		return
	}
	names := map[string]bool{}
	var known []string
	for _, segment := range matched {
		if segment.Name != "" {
			names[segment.Name] = segment.Rest
			known = append(known, segment.Name)
		}
	}
	for _, segment := range used {
		rest, there := names[segment.Name]
		switch {
		case segment.Name == "":
		case !there:
			hint := config.Suggest(segment.Name, known)
			if hint == "" {
				hint = fix
			}
			r.Errorf("path", hint, "path %q: template %q has no {%s}", text, template, segment.Name)
		case segment.Rest != rest:
			r.Errorf("path", "write it as in the template", "path %q: {%s} is written differently in template %q", text, segment.Name, template)
		}
	}
}

func checkLiteralPath(text, at string, r *config.Report) {
	form, err := stream.CanonicalPath(text)
	if err != nil {
		r.Errorf(at, "write a path such as /v2", "path %q: %v", text, err)
	} else if form != text {
		r.Warnf(at, "write it like that", "path %q means %q", text, form)
	}
}
