package examples

import (
	"strconv"
	"testing"
)

func proveRateLimit(t *testing.T, x *running) {
	for i := range 5 {
		a := x.get("/", "Cookie", "session=s") // the shadow limit refuses nothing
		x.want("within the burst", a, 200)
		x.equal("what is left", a.header.Get("RateLimit-Remaining"), strconv.Itoa(4-i))
	}
	a := x.get("/")
	x.want("beyond the burst", a, 429)
	x.equal("what is left", a.header.Get("RateLimit-Remaining"), "0")
	wait, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || wait < 1 || wait > 2 {
		t.Errorf("Retry-After: %q, want a rate of 30/m", a.header.Get("Retry-After"))
	}
}
