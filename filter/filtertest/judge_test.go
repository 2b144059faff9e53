package filtertest_test

import (
	"runtime"
	"testing"
)

// judge is a testing.TB whose failures are what the test wants to see.
type judge struct {
	testing.TB
	failed *bool
}

func (j *judge) Errorf(string, ...any) { *j.failed = true }

func (j *judge) Fatalf(string, ...any) {
	*j.failed = true
	runtime.Goexit()
}
