//go:build linux

package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

type options struct {
	weir       string
	rounds     int
	time, warm time.Duration
	only       *regexp.Regexp
	peers      *regexp.Regexp
	proxyCore  int
	loadCore   int
}

func main() {
	var (
		o       options
		only    = flag.String("only", "", "run the cases whose name matches this regular expression")
		peers   = flag.String("proxies", "", "run the proxies whose name matches this regular expression")
		reverse = flag.String("reverse-proxy", "", "be the httputil.ReverseProxy peer on this address (used by bench itself)")
		to      = flag.String("to", "", "with -reverse-proxy: the upstream")
		logTo   = flag.String("log", "", "with -reverse-proxy: the access log")
		cert    = flag.String("cert", "", "with -reverse-proxy: certificate file")
		key     = flag.String("key", "", "with -reverse-proxy: key file")
	)
	flag.StringVar(&o.weir, "weir", "bin/weir", "the weir binary to measure")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds; the table shows medians")
	flag.DurationVar(&o.time, "time", 3*time.Second, "measured time per case, proxy and round")
	flag.DurationVar(&o.warm, "warm", time.Second, "time before measuring")
	flag.IntVar(&o.proxyCore, "proxy-core", 0, "the core of the proxy")
	flag.IntVar(&o.loadCore, "load-core", 1, "the core of load generator and upstream")
	flag.Parse()
	if *reverse != "" {
		exit(reverseProxy(*reverse, *to, *logTo, *cert, *key))
		return
	}
	o.only, o.peers = regexp.MustCompile(*only), regexp.MustCompile(*peers)
	exit(pinAndBench(o))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// pinAndBench starts itself again on the load core, unless it is there: the
// runtime's own threads have to be there too.
func pinAndBench(o options) error {
	const pinned = "WEIR_BENCH_PINNED"
	if os.Getenv(pinned) != "" {
		return bench(o)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command("taskset", append([]string{"-c", strconv.Itoa(o.loadCore), self}, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), pinned+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

func bench(o options) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	t := newTable(o.rounds)
	for round := range o.rounds {
		for _, c := range cases() {
			if !o.only.MatchString(c.name) {
				continue
			}
			for _, p := range proxies(absolute(o.weir), self) {
				if !o.peers.MatchString(p.name) {
					continue
				}
				r, err := measure(o, c, p)
				if err != nil {
					return fmt.Errorf("case %q, %s: %w", c.name, p.name, err)
				}
				fmt.Fprintf(os.Stderr, "round %d  %-24s %-9s %8.0f req/s  %7.2f us CPU  %d errors\n",
					round+1, c.name, p.name, r.perSecond, r.cpu, r.errors)
				t.add(c.name, p.name, r)
			}
		}
	}
	if err := t.print(os.Stdout); err != nil {
		return err
	}
	return o.printMemory(os.Stdout, self)
}

func absolute(path string) string {
	if strings.HasPrefix(path, "/") {
		return path
	}
	dir, err := os.Getwd()
	if err != nil {
		return path
	}
	return dir + "/" + path
}

// measure runs one case against one proxy.
func measure(o options, c benchCase, p proxy) (result, error) {
	upstream, err := freePort()
	if err != nil {
		return result{}, err
	}
	listen, err := freePort()
	if err != nil {
		return result{}, err
	}
	s := setup{listen: listen.String(), upstream: upstream.String(), routes: c.routes}
	if c.tls {
		dir, err := os.MkdirTemp("", "weir-bench-cert-")
		if err != nil {
			return result{}, err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if s.cert, s.key, err = writeCertificate(dir); err != nil {
			return result{}, err
		}
	}
	r, err := p.start(o.proxyCore, s)
	if err != nil {
		return result{}, err
	}
	defer r.stop()
	pids := r.pids()
	idle := residentBytes(pids)
	var before time.Duration
	l := load{
		target: sockaddr(listen), upstream: sockaddr(upstream), conns: c.conns, request: c.request(), response: c.answer(),
		bodyBytes: c.response, closeEach: c.close, warm: o.warm, measure: o.time,
		afterWarmup: func() { before, err = cpuTime(pids) },
	}
	drive := run
	if c.tls {
		drive = runTLS
	}
	out, runErr := drive(l)
	if runErr != nil {
		return result{}, runErr
	}
	if err != nil {
		return result{}, err
	}
	after, err := cpuTime(pids)
	if err != nil {
		return result{}, fmt.Errorf("%w\n%s", err, r.output)
	}
	if out.requests == 0 {
		return result{}, fmt.Errorf("not one request succeeded (%d errors)\n%s", out.errors, r.output)
	}
	return result{
		perSecond: float64(out.requests) / out.elapsed.Seconds(),
		cpu:       float64((after - before).Nanoseconds()) / 1e3 / float64(out.requests),
		p50:       out.latencies.quantile(0.5), p99: out.latencies.quantile(0.99), p999: out.latencies.quantile(0.999),
		idleRSS: idle, rss: residentBytes(pids), errors: out.errors,
	}, nil
}

// freePort is a loopback address that was free a moment ago.
func freePort() (*net.TCPAddr, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr), nil
}
