// Command quickstart starts two small upstreams and Weir in front of them, and
// says what to try. It is what `make run` runs.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

const message = `
Weir is in front of two small upstreams. Try:

  curl -i http://127.0.0.1:8080/hello          (again: the other upstream answers)
  curl -i http://127.0.0.1:8080/maintenance
  curl -s http://127.0.0.1:9901/clusters       (admin: health and load)
  curl -s http://127.0.0.1:9901/metrics
  open http://127.0.0.1:9901/                  (admin: all pages)

Edit examples/quickstart.yaml while it runs: Weir takes the change at once.
Ctrl-C ends it.

`

func main() {
	weir := flag.String("weir", "bin/weir", "the weir binary")
	document := flag.String("document", "examples/quickstart.yaml", "the document to run")
	flag.Parse()
	if err := run(*weir, *document); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(weir, document string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for _, address := range []string{"127.0.0.1:9001", "127.0.0.1:9002"} {
		if err := serve(address); err != nil {
			return err
		}
	}
	fmt.Print(message)
	cmd := exec.CommandContext(ctx, weir, "run", document)
	// A group of its own: Ctrl-C would reach Weir twice otherwise, by the
	// terminal and by us, and a second signal ends the grace period.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("weir: %w", err)
	}
	return nil
}

// serve starts one upstream, which lives as long as this process.
func serve(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("upstream: %w; is another quickstart running?", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "Hello from %s: %s %s, for %s\n", address, r.Method, r.URL, r.Header.Get("X-Forwarded-For"))
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }()
	return nil
}
