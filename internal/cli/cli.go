// Package cli is everything a person types: the commands of the weir binary,
// their flags, what they print and how they exit. It is the front door over
// engine and plane; a custom build has the same commands with its own filters.
package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/weirproxy/weir/filter"
)

// App is what the commands get from the process.
type App struct {
	Version        string
	Filters        filter.Registry
	Args           []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// The exit codes, which scripts may rely on.
const (
	exitOK      = 0
	exitFailure = 1 // it did not work, or the document has problems
	exitUsage   = 2 // the command line makes no sense
)

// errReported ends a command with exitFailure when everything was said already.
var errReported = errors.New("reported")

// usageError is a command line that makes no sense.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Run runs one command line and returns the exit code.
func Run(app App) int {
	root := app.root()
	root.SetArgs(app.Args)
	root.SetIn(app.Stdin)
	root.SetOut(app.Stdout)
	root.SetErr(app.Stderr)
	cmd, err := root.ExecuteC()
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errReported):
		return exitFailure
	case errors.As(err, &usage):
		root.PrintErrf("weir: %v; see %s --help\n", err, cmd.CommandPath())
		return exitUsage
	}
	root.PrintErrf("weir: %v\n", err)
	return exitFailure
}

func (app App) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "weir",
		Short: "A service proxy: routes, protects and measures traffic",
		Long: `Weir stands between clients and services and routes, protects and measures
their traffic.

Exit codes: 0 success; 1 failure, or a document with problems; 2 a command line
that makes no sense.`,
		Example: `  weir proxy --listen 127.0.0.1:8080 --to http://127.0.0.1:9000
  weir run weir.yaml
  weir check weir.yaml
  weir explain weir.yaml GET https://api.example.com/v1/items`,
		SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.Version = app.Version // makes the flag --version
	root.SetVersionTemplate(app.versionLine())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(app.run(), app.proxy(), app.check(), app.explain(), app.schema(), app.versionCommand())
	completionExamples(root)
	root.Args = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		if near := root.SuggestionsFor(args[0]); len(near) > 0 {
			return usagef("there is no command %q; did you mean %q?", args[0], near[0])
		}
		return usagef("there is no command %q", args[0])
	}
	root.SuggestionsMinimumDistance = 2
	return root
}

// completionExamples gives the command that cobra brings what all others have.
func completionExamples(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.Example = "  weir completion bash > /etc/bash_completion.d/weir\n  source <(weir completion zsh)"
			cmd.Args, cmd.RunE = noArgs, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
}

// noArgs refuses arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s: there is no argument to give, and %q is one", cmd.Name(), args[0])
	}
	return nil
}

// documentArgs wants the names of documents.
func documentArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("%s: name a file or a directory with documents", cmd.Name())
	}
	return nil
}

func (app App) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  weir version",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), app.versionLine())
			return err
		},
	}
}

func (app App) versionLine() string {
	return fmt.Sprintf("weir %s %s %s/%s\n", app.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// logFlags are the flags of commands that run for long.
type logFlags struct{ level, format string }

func (f *logFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.level, "log-level", "info", "of the operational log: debug, info, warn or error")
	cmd.Flags().StringVar(&f.format, "log-format", "text", "of the operational log: text or json")
	completeWith(cmd, "log-level", "debug", "info", "warn", "error")
	completeWith(cmd, "log-format", "text", "json")
}

func (f *logFlags) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		return nil, usagef("--log-level %q is not debug, info, warn or error", f.level)
	}
	options := &slog.HandlerOptions{Level: level}
	switch f.format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, usagef("--log-format %q is neither text nor json", f.format)
}

func completeWith(cmd *cobra.Command, flag string, values ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // fails only for a flag that is not there
}
