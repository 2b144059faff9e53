package health

import (
	"fmt"
	"strconv"
	"strings"
)

// statuses is a set of status codes.
type statuses [600]bool

func (s *statuses) has(status int) bool { return status < len(s) && s[status] }

// parseStatuses reads codes ("204") and classes ("2xx"). None: 2xx.
func parseStatuses(list []string) (set statuses, err error) {
	if len(list) == 0 {
		list = []string{"2xx"}
	}
	for _, text := range list {
		low, count := text, 1
		if class, ok := strings.CutSuffix(strings.ToLower(text), "xx"); ok {
			low, count = class+"00", 100
		}
		n, err := strconv.Atoi(low)
		if err != nil || len(low) != 3 || n < 100 || n+count > len(set) {
			return set, fmt.Errorf("health: status %q is neither a code like 204 nor a class like 2xx", text)
		}
		for i := range count {
			set[n+i] = true
		}
	}
	return set, nil
}

// checkTarget refuses what would change the request around it.
func checkTarget(path, host string) error {
	if !strings.HasPrefix(path, "/") || strings.ContainsFunc(path, outsideOfTarget) {
		return fmt.Errorf("health: path %q must begin with / and hold no space or control character", path)
	}
	if strings.ContainsFunc(host, outsideOfTarget) || strings.ContainsAny(host, "/?#@") {
		return fmt.Errorf("health: host %q is not a host", host)
	}
	return nil
}

func outsideOfTarget(r rune) bool { return r <= ' ' || r >= 0x7f }
