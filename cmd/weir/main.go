// Command weir is the proxy and everything a person types. It is the front
// door with the filters of this repository; a custom build is a main like this
// one with more of them.
package main

import (
	"os"

	"github.com/weirproxy/weir"
	"github.com/weirproxy/weir/filters/all"
)

// version is set by the build: -ldflags "-X main.version=v1.2.3".
var version = "devel"

func main() { os.Exit(weir.Main(version, all.Definitions()...)) }
