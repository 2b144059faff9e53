package cli

import (
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/control/plane"
)

// proxyFlags are a whole document in flags.
type proxyFlags struct {
	listen, accessLog, admin, cert, key string
	to                                  []string
	logs                                logFlags
}

func (app App) proxy() *cobra.Command {
	var f proxyFlags
	cmd := &cobra.Command{
		Use:   "proxy --to URL [--to URL...]",
		Short: "Run a reverse proxy without any document",
		Long: `Run a reverse proxy without any document: one listener, one route, one cluster.
Several --to are balanced; with https URLs the upstream certificates are
checked against the roots of the system. When flags do not say enough any
more, go on with weir run.`,
		Example: `  weir proxy --to http://127.0.0.1:9000
  weir proxy --listen :8080 --to http://10.0.0.1:9000 --to http://10.0.0.2:9000
  weir proxy --listen :8443 --tls-cert site.crt --tls-key site.key --to https://api.example.com
  weir proxy --to unix:/run/app.sock --access-log /var/log/weir.log --admin off`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			log, err := f.logs.logger(app.Stderr)
			if err != nil {
				return err
			}
			doc, err := f.document()
			if err != nil {
				return err
			}
			return app.serve(plane.FromDocument(doc, plane.Config{Filters: app.Filters, Env: os.LookupEnv, Log: log}), log)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8080", "address to listen on: host:port, :port or unix:/path")
	flags.StringArrayVar(&f.to, "to", nil, "upstream: http://host[:port], https://host[:port] or unix:/path; repeat it to balance")
	flags.StringVar(&f.accessLog, "access-log", "-", "file of the access log; - is stdout, off is none")
	flags.StringVar(&f.admin, "admin", "127.0.0.1:9901", "address of the admin API, or off")
	flags.StringVar(&f.cert, "tls-cert", "", "certificate chain, PEM: listen with TLS")
	flags.StringVar(&f.key, "tls-key", "", "private key, PEM")
	f.logs.add(cmd)
	return cmd
}

// document is what the flags say, with every default.
func (f *proxyFlags) document() (*config.Document, error) {
	if len(f.to) == 0 {
		return nil, usagef("proxy: --to is missing: where shall requests go? for example --to http://127.0.0.1:9000")
	}
	if (f.cert == "") != (f.key == "") {
		return nil, usagef("proxy: --tls-cert and --tls-key belong together")
	}
	doc := config.Default[config.Document]()
	doc.Admin.Address = f.admin
	doc.AccessLog.To = f.accessLog
	if f.accessLog == "-" {
		doc.AccessLog.To = "stdout"
	}
	l := config.Default[config.Listener]()
	l.Name, l.Address = "proxy", f.listen
	if f.cert != "" {
		t := config.Default[config.ListenerTLS]()
		t.Certificates = []config.Certificate{{Cert: config.Secret{File: f.cert}, Key: config.Secret{File: f.key}}}
		l.TLS = &t
	}
	c, err := f.cluster()
	if err != nil {
		return nil, err
	}
	r := config.Default[config.Route]()
	r.Name, r.To = "proxy", []config.Target{{Cluster: c.Name, Weight: 1}}
	doc.Listeners, doc.Routes, doc.Clusters = []config.Listener{l}, []config.Route{r}, []config.Cluster{c}
	return &doc, nil
}

// cluster is made of all --to, which must agree in their scheme.
func (f *proxyFlags) cluster() (config.Cluster, error) {
	c := config.Default[config.Cluster]()
	c.Name = "upstream"
	for i, to := range f.to {
		address, secure, err := upstreamAddress(to)
		if err != nil {
			return c, err
		}
		if i > 0 && secure != (c.TLS != nil) {
			return c, usagef("proxy: --to %s: http and https upstreams cannot stand in one cluster; write a document and use weir run", to)
		}
		if secure && c.TLS == nil {
			t := config.Default[config.ClusterTLS]()
			c.TLS = &t
		}
		c.Endpoints = append(c.Endpoints, config.Endpoint{Address: address, Weight: 1})
	}
	return c, nil
}

// upstreamAddress is the endpoint of a URL.
func upstreamAddress(to string) (address string, secure bool, err error) {
	if strings.HasPrefix(to, "unix:") {
		return to, false, nil
	}
	if !strings.Contains(to, "://") {
		return "", false, usagef("proxy: --to %q has no scheme; write http://%s or https://%s", to, to, to)
	}
	u, err := url.Parse(to)
	if err != nil {
		return "", false, usagef("proxy: --to %q is not a URL: %v", to, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return "", false, usagef("proxy: --to %q: the scheme is neither http nor https", to)
	}
	if u.Hostname() == "" {
		return "", false, usagef("proxy: --to %q has no host; write for example %s://127.0.0.1:9000", to, u.Scheme)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return "", false, usagef("proxy: --to %q: give scheme, host and port only; paths and headers are a matter of routes (weir run)", to)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", false, usagef("proxy: --to %q: %s is not a port", to, port)
	}
	return net.JoinHostPort(u.Hostname(), port), u.Scheme == "https", nil
}
