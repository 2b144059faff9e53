// Package weir is the front door for custom builds: a main package that calls
// Main with its own filters beside those of filters/all is a proxy with
// everything that the weir command has.
//
//	func main() {
//		os.Exit(weir.Main("v1.0.0-acme", append(all.Definitions(), tenant.Definition)...))
//	}
package weir

import (
	"os"

	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/internal/cli"
)

// Main runs the command line of the process and returns its exit code: 0 for
// success, 1 for a failure or a document with problems, 2 for a command line
// that makes no sense. Two filters of one name panic.
func Main(version string, filters ...filter.Definition) int {
	return cli.Run(cli.App{
		Version: version, Filters: filter.NewRegistry(filters...),
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	})
}
