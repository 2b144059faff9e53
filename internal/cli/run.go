package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/control/plane"
	"github.com/weirproxy/weir/internal/proxy/engine"
	"github.com/weirproxy/weir/internal/proxy/record"
)

func (app App) run() *cobra.Command {
	var logs logFlags
	var zone, state string
	cmd := &cobra.Command{
		Use:   "run FILE_OR_DIR...",
		Short: "Run the proxy from documents",
		Long: `Run the proxy from documents: YAML or JSON files, or directories of them.

It takes changes over while it runs: when a file changes, on SIGHUP, and on
POST /reload of the admin API. An object with errors keeps its last good
version; everything else applies. At the start there is no last good version:
with an error in any document run refuses to start.

SIGTERM and SIGINT end it: no new connections, what is under way may finish
within drain.grace. A second one ends it at once. SIGUSR1 opens the access log
again.`,
		Example: `  weir run weir.yaml
  weir run /etc/weir/
  weir run base.yaml team-a.yaml --log-format json`,
		Args: documentArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			log, err := logs.logger(app.Stderr)
			if err != nil {
				return err
			}
			return app.serve(plane.New(plane.Config{Paths: args, Filters: app.Filters, Env: os.LookupEnv, Log: log}), log, zone, state)
		},
	}
	logs.add(cmd)
	cmd.Flags().StringVar(&zone, "zone", os.Getenv("WEIR_ZONE"), "where this process runs, for clusters that prefer the zone of the proxy; default: $WEIR_ZONE")
	cmd.Flags().StringVar(&state, "state", os.Getenv("WEIR_STATE"), "directory of what outlives the process: what canaries are at; default: $WEIR_STATE, without it nothing does")
	return cmd
}

// serve loads the first snapshot, runs it and follows the plane until a signal
// ends the process.
func (app App) serve(p *plane.Plane, log *slog.Logger, zone, state string) error {
	signals, stop := catchSignals()
	defer stop()
	snap, problems := p.Load()
	printProblems(app.Stderr, problems)
	if snap == nil {
		return fmt.Errorf("not started: %s; see above", count(problems.Errors(), "error"))
	}
	e := engine.New(engine.Config{
		Version: app.Version, Filters: app.Filters, Log: log, Zone: zone, State: state,
		Control: engine.Control{
			Reload:  reloader(p),
			Metrics: planeSamples(p),
		},
	})
	if err := e.Apply(snap); err != nil {
		return fmt.Errorf("not started: %w", err)
	}
	return daemon{
		log: log, engine: e,
		reload: func(reason string) { p.Reload(reason) },
		watch:  func(ctx context.Context) { p.Run(ctx, e.Apply) },
	}.serve(signals)
}

// planeSamples are the counters of the control side.
func planeSamples(p *plane.Plane) record.Source {
	return func(emit func(record.Sample)) {
		s := p.Stats()
		emit(record.Sample{Name: "weir_snapshot_number", Help: "Number of the snapshot in use.", Type: record.Gauge, Value: float64(s.Number.Load())})
		emit(record.Sample{Name: "weir_snapshot_held_objects", Help: "Objects that keep their last good version because the new one has errors.", Type: record.Gauge, Value: float64(s.Held.Load())})
		emit(record.Sample{Name: "weir_snapshot_last_success_timestamp_seconds", Help: "When documents were last loaded without an error.", Type: record.Gauge, Value: float64(s.LastSuccess.Load()) / 1e9})
		for _, result := range []struct {
			name  string
			count int64
		}{{"applied", s.Applied.Load()}, {"unchanged", s.Unchanged.Load()}, {"failed", s.Failed.Load()}} {
			emit(record.Sample{
				Name: "weir_snapshot_loads_total", Help: "Reloads of the documents, by result.", Type: record.Counter,
				Labels: [][2]string{{"result", result.name}}, Value: float64(result.count),
			})
		}
	}
}

func printProblems(w io.Writer, problems config.Problems) {
	for _, p := range problems {
		_, _ = fmt.Fprintln(w, p) // the exit code tells it too
	}
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// writeJSON prints v with two spaces of indentation.
func writeJSON(w io.Writer, v any) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	return out.Encode(v)
}

func formatFlag(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVar(format, "format", "text", "text or json")
	completeWith(cmd, "format", "text", "json")
}

func checkFormat(format string) error {
	if format != "text" && format != "json" {
		return usagef("--format %q is neither text nor json", format)
	}
	return nil
}
