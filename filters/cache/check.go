package cache

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/filters/cache/rule"
	"github.com/weirproxy/weir/internal/redis"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/stream"
)

// maxNames bounds the lists that each request is compared with.
const maxNames = 100

// minSlice bounds how many fetches a range is made of.
const minSlice = 64 << 10

func check(s *Settings, report *config.Report) {
	if s.MaxObject > s.Size {
		report.Errorf("max_object", "raise size, or lower max_object", "one response may be larger (%s) than all of the cache (%s)", s.MaxObject, s.Size)
	}
	if s.Slice != 0 && (s.Slice < minSlice || s.Slice > s.MaxObject) {
		report.Errorf("slice", "write 1MiB, and no more than max_object", "slices of %s: from %s to max_object (%s) they can be stored", s.Slice, config.Size(minSlice), s.MaxObject)
	}
	if s.Disk.Path != "" && !filepath.IsAbs(s.Disk.Path) {
		report.Errorf("disk.path", "write it from the root", "%q is relative to a folder that may be another after a restart", s.Disk.Path)
	}
	checkTargets(s.Targets, report)
	checkKey(&s.Key, report.Below("key"))
	if s.Store != nil {
		redis.Check(&s.Store.Redis, report.Below("store.redis"))
	}
	checkRisks(s, report)
}

// maxTargets bounds the fields that each response is searched for.
const maxTargets = 8

func checkTargets(names []string, report *config.Report) {
	if len(names) > maxTargets {
		report.Errorf("targets", "name those that the upstream sends", "%d targets, more than %d", len(names), maxTargets)
	}
	for i, name := range names {
		if why := rule.TargetName(name); why != "" {
			report.Errorf(fmt.Sprintf("targets[%d]", i), "write a name such as CDN-Cache-Control", "%q cannot be a target: %s", name, why)
		}
	}
}

func checkKey(k *Key, report *config.Report) {
	query := report.Below("query")
	checkParameters(k.Query.Ignore, "ignore", query)
	checkParameters(k.Query.Only, "only", query)
	if len(k.Query.Ignore) > 0 && len(k.Query.Only) > 0 {
		query.Errorf("only", "remove one of the lists", "only says which parameters count, and ignore says it again")
	}
	if len(k.Headers) > maxNames {
		report.Errorf("headers", "name those that the upstream looks at", "%d headers, more than %d", len(k.Headers), maxNames)
	}
	if _, err := requestkey.ParseTuple(k.Values); err != nil {
		report.Errorf("values", "name values that requests have", "%v", err)
	}
	for i, name := range k.Headers {
		at := fmt.Sprintf("headers[%d]", i)
		switch id := stream.Lookup(name); {
		case !stream.IsToken(name):
			report.Errorf(at, "write a name such as X-Tenant", "%q is not the name of a header", name)
		case id == stream.Authorization, id == stream.Cookie:
			report.Warnf(at, "remove it, or see that responses are private", "with %s in the key every user has responses of their own, and they are stored", name)
		}
	}
}

// load reads the files that the settings refer to.
func load(s *Settings, read filter.Reader, report *config.Report) {
	if s.Store != nil {
		s.Store.Loaded = redis.Load(&s.Store.Redis, read, report.Below("store.redis"))
	}
}

func checkParameters(names []string, list string, report *config.Report) {
	if len(names) > maxNames {
		report.Errorf(list, `use patterns such as "utm_*"`, "%d parameters, more than %d", len(names), maxNames)
		return
	}
	for i, name := range names {
		if star := strings.IndexByte(name, '*'); name == "" || star >= 0 && star != len(name)-1 {
			report.Errorf(fmt.Sprintf("%s[%d]", list, i), `write a name, or the start of one and a "*": utm_*`, "%q is no pattern of a parameter", name)
		}
	}
}

// checkRisks warns of what mixes users.
func checkRisks(s *Settings, report *config.Report) {
	if s.ShareSetCookieWithEveryone {
		report.Warnf("share_set_cookie_with_everyone", "remove it, unless no cookie on this route means anything",
			"the cookie that the upstream gives to one user is given to all others, who are then logged in as that user")
	}
	if s.Force.TTL > 0 {
		report.Warnf("force", "remove it and have the upstream send Cache-Control, unless every user may see every response of this route",
			"responses are stored though they say private or no-store, or were made for somebody who is logged in: one user is shown what was made for another")
		if len(s.Force.Statuses) == 0 {
			report.Errorf("force.statuses", "name one, or remove force", "no status is forced")
		}
		for i, status := range s.Force.Statuses {
			if status < 200 || status > 599 || status == 206 || status == 304 {
				report.Errorf(fmt.Sprintf("force.statuses[%d]", i), "name final ones: 200, 301, 404", "a response with status %d cannot be stored", status)
			}
		}
	}
}
