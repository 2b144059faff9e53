package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirproxy/weir/internal/control/explain"
	"github.com/weirproxy/weir/internal/control/plane"
	"github.com/weirproxy/weir/internal/proxy/engine"
	"github.com/weirproxy/weir/stream"
)

// explainFlags are the question of weir explain.
type explainFlags struct {
	headers, claims                 []string
	client, listener, admin, format string
}

func (app App) explain() *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain FILE_OR_DIR... METHOD URL  |  explain --admin ADDR METHOD URL",
		Short: "Say what would become of a request, and why",
		Long: `Say what would become of a request: which listener and route take it and why
each other candidate does not, what the upstream would see, which filters run,
timeouts, retries, cluster and endpoints. Nothing is sent.

METHOD is that of a request, or
  GRPC     a call: a POST with the content type of gRPC, to /package.Service/Method
  CONNECT  with HOST:PORT in the place of a URL
  TCP      with tcp://[HOST][:PORT], or tls://NAME[:PORT]?alpn=h2,http/1.1 for a TLS hello
  UDP      with udp://[HOST][:PORT]

With --admin it asks a running proxy what its running snapshot would do.
Exit code 1 when the request would be refused or no route takes it.`,
		Example: `  weir explain weir.yaml GET https://api.example.com/v1/items
  weir explain base.yaml team-a.yaml GET https://api.example.com/
  weir explain weir.yaml POST /v1/items -H 'Host: api.example.com' -H 'X-Tenant: a'
  weir explain weir.yaml GET http://intern.example.com/ --client 10.1.2.3
  weir explain weir.yaml GET http://intern.example.com/ --claim sub=anna --claim roles=beta
  weir explain weir.yaml GRPC https://api.example.com/shop.v1.Orders/Place
  weir explain weir.yaml CONNECT db.example.com:5432
  weir explain weir.yaml TCP 'tls://db.example.com:5432?alpn=postgresql'
  weir explain --admin 127.0.0.1:9901 GET https://api.example.com/ --format json`,
		Args: func(_ *cobra.Command, args []string) error {
			if f.admin == "" && len(args) < 3 || f.admin != "" && len(args) != 2 {
				return usagef("explain: got %s, want FILE_OR_DIR... METHOD URL (or METHOD URL with --admin)", count(len(args), "argument"))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkFormat(f.format); err != nil {
				return err
			}
			if f.admin != "" {
				return app.explainRunning(f, args[0], args[1])
			}
			n := len(args) - 2
			return app.explainFiles(f, args[:n], args[n], args[n+1])
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "a request header, 'name: value'; repeat it")
	flags.StringArrayVar(&f.claims, "claim", nil, "a claim of a verified token, name=value; repeat it, for a list with the same name")
	flags.StringVar(&f.client, "client", "", "address of the client")
	flags.StringVar(&f.listener, "listener", "", "name of the listener; by default the one that fits the URL")
	flags.StringVar(&f.admin, "admin", "", "ask the running proxy at this admin address (host:port or unix:/path)")
	formatFlag(cmd, &f.format)
	return cmd
}

func (f *explainFlags) query(method, target string) (explain.Query, error) {
	q := explain.Query{Method: method, URL: target, Listener: f.listener}
	for _, h := range f.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return q, usagef("explain: -H %q is not 'name: value'", h)
		}
		q.Header = append(q.Header, [2]string{strings.TrimSpace(name), strings.TrimSpace(value)})
	}
	for _, c := range f.claims {
		name, value, ok := strings.Cut(c, "=")
		if _, err := stream.ParseClaimName(name); err != nil || !ok {
			return q, usagef("explain: --claim %q is not name=value", c)
		}
		q.Claims = append(q.Claims, [2]string{name, value})
	}
	if f.client != "" {
		client, err := netip.ParseAddr(f.client)
		if err != nil {
			return q, usagef("explain: --client %q is not an IP address", f.client)
		}
		q.Client = client
	}
	return q, nil
}

func (app App) explainFiles(f explainFlags, paths []string, method, target string) error {
	q, err := f.query(method, target)
	if err != nil {
		return err
	}
	p := plane.New(plane.Config{Paths: paths, Filters: app.Filters, Env: os.LookupEnv, Log: slog.New(slog.DiscardHandler)})
	snap, problems := p.Load()
	if snap == nil {
		printProblems(app.Stderr, problems)
		return fmt.Errorf("nothing to explain: %s; see above", count(problems.Errors(), "error"))
	}
	x, err := engine.Explain(snap, q)
	if err != nil {
		return usageError{fmt.Errorf("explain: %w", err)}
	}
	return app.printExplanation(x, f.format)
}

// explainRunning asks the admin API.
func (app App) explainRunning(f explainFlags, method, target string) error {
	if _, err := f.query(method, target); err != nil {
		return err
	}
	if f.listener != "" {
		return usagef("explain: --listener does not go with --admin")
	}
	values := url.Values{"method": {method}, "url": {target}, "format": {"json"}}
	for _, h := range f.headers {
		values.Add("header", h)
	}
	for _, c := range f.claims {
		values.Add("claim", c)
	}
	if f.client != "" {
		values.Set("client", f.client)
	}
	body, err := askAdmin(f.admin, "/explain?"+values.Encode())
	if err != nil {
		return err
	}
	var x explain.Explanation
	if err := json.Unmarshal(body, &x); err != nil {
		return fmt.Errorf("admin API at %s: the answer is not an explanation: %w", f.admin, err)
	}
	return app.printExplanation(&x, f.format)
}

func (app App) printExplanation(x *explain.Explanation, format string) error {
	var err error
	if format == "json" {
		err = writeJSON(app.Stdout, x)
	} else {
		_, err = io.WriteString(app.Stdout, x.String())
	}
	if err == nil && x.Refused != "" {
		return errReported
	}
	return err
}

// askAdmin gets a page of a running proxy.
func askAdmin(address, page string) ([]byte, error) {
	host := address
	transport := &http.Transport{}
	if path, unix := strings.CutPrefix(address, "unix:"); unix {
		host = "localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: transport}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://" + host + page)
	if err != nil {
		return nil, fmt.Errorf("admin API at %s: %w; does weir run there?", address, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("admin API at %s: %w", address, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("admin API at %s: %s: %s", address, resp.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}
