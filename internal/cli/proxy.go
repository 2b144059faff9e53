package cli

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/control/plane"
)

// proxyFlags are a whole document in flags.
type proxyFlags struct {
	listen, accessLog, admin, cert, key, ca string
	http3                                   bool
	to                                      []string
	logs                                    logFlags
}

func (app App) proxy() *cobra.Command {
	var f proxyFlags
	cmd := &cobra.Command{
		Use:   "proxy --to URL [--to URL...]",
		Short: "Run a reverse proxy without any document",
		Long: `Run a reverse proxy without any document: one listener, one route, one cluster.
The scheme of --to says what the upstream speaks:

  http   HTTP/1.1                 https  what it chooses under TLS: HTTP/2 or 1.1
  h2c    HTTP/2 in the clear      h2     HTTP/2 under TLS
  tcp    bytes, as they come      h3     HTTP/3
  udp    datagrams                unix   HTTP/1.1 over a socket (unix:/path)

The listener speaks HTTP/1.1 and HTTP/2 (by prior knowledge), with --tls-cert
both by ALPN, and with --http3 HTTP/3 beside them; for tcp and udp it carries
bytes (--tls-cert ends TLS in front of tcp). Several --to of one scheme are
balanced. The certificates of upstreams are checked against the roots of the
system, or --upstream-ca. When flags do not say enough any more, go on with
weir run.`,
		Example: `  weir proxy --to http://127.0.0.1:9000
  weir proxy --listen :8080 --to http://10.0.0.1:9000 --to http://10.0.0.2:9000
  weir proxy --listen :8443 --tls-cert site.crt --tls-key site.key --http3 --to https://api.example.com
  weir proxy --to h2c://127.0.0.1:50051
  weir proxy --listen :5432 --to tcp://10.0.0.1:5432 --to tcp://10.0.0.2:5432
  weir proxy --listen :5353 --to udp://10.0.0.53:53
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
			return app.serve(plane.FromDocument(doc, plane.Config{Filters: app.Filters, Env: os.LookupEnv, Log: log}), log, "", "")
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8080", "address to listen on: host:port, :port or unix:/path")
	flags.StringArrayVar(&f.to, "to", nil, "upstream: SCHEME://host[:port] with http, https, h2c, h2, h3, tcp or udp, or unix:/path; repeat it to balance")
	flags.StringVar(&f.accessLog, "access-log", "-", "file of the access log; - is stdout, off is none")
	flags.StringVar(&f.admin, "admin", "127.0.0.1:9901", "address of the admin API, or off")
	flags.StringVar(&f.cert, "tls-cert", "", "certificate chain, PEM: listen with TLS")
	flags.StringVar(&f.key, "tls-key", "", "private key, PEM")
	flags.BoolVar(&f.http3, "http3", false, "listen for HTTP/3 as well, on the UDP port of the same number; needs --tls-cert")
	flags.StringVar(&f.ca, "upstream-ca", "", "bundle that the certificates of upstreams must chain to, PEM (default that of the system)")
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
	scheme, c, err := f.cluster()
	if err != nil {
		return nil, err
	}
	doc := config.Default[config.Document]()
	doc.Admin.Address = f.admin
	doc.AccessLog.To = f.accessLog
	if f.accessLog == "-" {
		doc.AccessLog.To = "stdout"
	}
	l, err := f.listener(scheme)
	if err != nil {
		return nil, err
	}
	r := config.Default[config.Route]()
	r.Name, r.Protocol, r.To = "proxy", l.Protocol, []config.Target{{Cluster: c.Name, Weight: 1}}
	doc.Listeners, doc.Routes, doc.Clusters = []config.Listener{l}, []config.Route{r}, []config.Cluster{c}
	return &doc, nil
}

// listener is the one in front of upstreams of that scheme.
func (f *proxyFlags) listener(scheme string) (config.Listener, error) {
	l := config.Default[config.Listener]()
	l.Name, l.Address = "proxy", f.listen
	if scheme == "tcp" || scheme == "udp" {
		l.Protocol = scheme
	}
	switch {
	case f.http3 && f.cert == "":
		return l, usagef("proxy: --http3 needs --tls-cert and --tls-key: HTTP/3 is always encrypted")
	case f.http3 && l.Protocol != "http":
		return l, usagef("proxy: --http3 makes no sense with --to %s://: bytes are carried as they come", scheme)
	case f.cert != "" && l.Protocol == "udp":
		return l, usagef("proxy: --tls-cert makes no sense with --to udp://: datagrams are carried as they come")
	}
	if f.cert != "" {
		t := config.Default[config.ListenerTLS]()
		t.Certificates = []config.Certificate{{Cert: config.Secret{File: f.cert}, Key: config.Secret{File: f.key}}}
		l.TLS = &t
	}
	if f.http3 {
		h := config.Default[config.ListenerHTTP3]()
		l.HTTP3 = &h
	}
	return l, nil
}
