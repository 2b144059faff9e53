package health

import (
	"fmt"
	"strings"
)

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
