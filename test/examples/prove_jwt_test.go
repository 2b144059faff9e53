package examples

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// demoTokens are those in the comments of an example, by name.
func demoTokens(t *testing.T, file string) map[string]string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("../../examples", file))
	if err != nil {
		t.Fatal(err)
	}
	tokens := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^#\s+([A-Z]+)=(ey\S+)$`).FindAllStringSubmatch(string(content), -1) {
		tokens[m[1]] = m[2]
	}
	return tokens
}

func proveJWT(t *testing.T, x *running) {
	tokens := demoTokens(t, "jwt.yaml")
	a := x.get("/")
	x.want("no token", a, 401)
	x.equal("the challenge", a.header.Get("WWW-Authenticate"), `Bearer realm="weir"`)
	a = x.get("/", "Authorization", "Bearer "+tokens["ANNA"], "X-User", "root")
	x.want("anna", a, 200)
	got := saw(t, a).Header
	x.equal("who asks", strings.Join(got.Values("X-User"), "|")+" of "+got.Get("X-Tenant"), "anna of acme")
	x.equal("the token behind Weir", got.Get("Authorization"), "")
	a = x.get("/", "Authorization", "Bearer "+tokens["ANNA"]+".")
	x.want("a token that is none", a, 401)
	if !strings.Contains(a.header.Get("WWW-Authenticate"), "invalid_token") {
		t.Errorf("the challenge is %s", a.header.Get("WWW-Authenticate"))
	}
	a = x.get("/", "Authorization", "Bearer "+tokens["BOB"])
	x.want("bob", a, 200)
	x.equal("bob's version", saw(t, a).Upstream, "9002")
	for range 2 {
		x.want("bob, within his limit", x.get("/", "Authorization", "Bearer "+tokens["BOB"]), 200)
	}
	x.want("bob, beyond it", x.get("/", "Authorization", "Bearer "+tokens["BOB"]), 429)
	x.want("anna, who has her own", x.get("/", "Authorization", "Bearer "+tokens["ANNA"]), 200)
	x.want("carl", x.get("/", "Authorization", "Bearer "+tokens["CARL"]), 403)
}
