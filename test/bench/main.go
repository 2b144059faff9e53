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
		other   = flag.String("against", "", "compare with this weir binary instead, in turns of a few milliseconds")
		cert    = flag.String("cert", "", "with -reverse-proxy: certificate file")
		key     = flag.String("key", "", "with -reverse-proxy: key file")
		grpc    = flag.Bool("grpc", false, "with -reverse-proxy: HTTP/2 to the upstream")
		shakes  = flag.String("handshakes", "", "be the clients of the handshake case at this address (used by bench itself)")
		conns   = flag.Int("conns", 32, "with -handshakes: how many at once")
	)
	flag.StringVar(&o.weir, "weir", "bin/weir", "the weir binary to measure")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds; the table shows medians")
	flag.DurationVar(&o.time, "time", 3*time.Second, "measured time per case, proxy and round")
	flag.DurationVar(&o.warm, "warm", time.Second, "time before measuring")
	flag.IntVar(&o.proxyCore, "proxy-core", 0, "the core of the proxy")
	flag.IntVar(&o.loadCore, "load-core", 1, "the core of load generator and upstream")
	flag.Parse()
	if *reverse != "" {
		exit(reverseProxy(*reverse, *to, *logTo, *cert, *key, *grpc))
		return
	}
	if *shakes != "" {
		exit(handshakes(*shakes, *conns, o.time))
		return
	}
	o.only, o.peers = regexp.MustCompile(*only), regexp.MustCompile(*peers)
	exit(pinAndBench(o, *other))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// pinAndBench starts itself again on the load core, unless it is there: the
// runtime's own threads have to be there too.
func pinAndBench(o options, other string) error {
	const pinned = "WEIR_BENCH_PINNED"
	if os.Getenv(pinned) != "" {
		if other != "" {
			return against(o, other)
		}
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
				if !c.has(p.name) || !o.peers.MatchString(p.name) {
					continue
				}
				r, err := measure(o, c, p, self)
				if err != nil {
					return fmt.Errorf("case %q, %s: %w", c.name, p.name, err)
				}
				fmt.Fprintf(os.Stderr, "round %d  %-37s %-9s %8.0f req/s  %7.2f us CPU  %3.0f %% of its core  %d errors\n",
					round+1, c.name, p.name, r.perSecond, r.cpu, 100*r.busy, r.errors)
				t.add(c, p.name, r)
			}
		}
	}
	if err := t.print(os.Stdout); err != nil {
		return err
	}
	if err := o.printMemory(os.Stdout, self); err != nil {
		return err
	}
	return o.printWebSockets(os.Stdout, self)
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

// connections is what the proxies are told to allow, unless a case needs more.
const connections = 4096

// measure runs one case against one proxy.
func measure(o options, c benchCase, p proxy, self string) (result, error) {
	upstream, err := freePort()
	if err != nil {
		return result{}, err
	}
	listen, err := freePort()
	if err != nil {
		return result{}, err
	}
	dir, err := os.MkdirTemp("", "weir-bench-case-")
	if err != nil {
		return result{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s := setup{listen: listen.String(), upstream: upstream.String(), routes: c.routes, h2: c.streams > 0, grpc: c.grpc, tcp: c.tcp, connections: connections, feature: c.feature}
	if c.tls {
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
	l := load{
		target: sockaddr(listen), upstream: sockaddr(upstream), conns: c.conns, request: c.request(), response: c.answer(),
		endpoints: c.feature.endpoints, closeEach: c.close, warm: o.warm, measure: o.time,
		cpu: func() (time.Duration, error) { return cpuTime(pids) },
	}
	if c.grpc {
		l.grpc = message(c.response)
	}
	out, err := drive(l, &c, self, listen, dir)
	if err != nil {
		return result{}, fmt.Errorf("%w\n%s", err, r.output)
	}
	if out.requests == 0 {
		return result{}, fmt.Errorf("not one request succeeded (%d errors)\n%s", out.errors, r.output)
	}
	return result{
		perSecond: float64(out.requests) / out.elapsed.Seconds(),
		cpu:       float64(out.cpu.Nanoseconds()) / 1e3 / float64(out.requests),
		busy:      float64(out.cpu) / float64(out.elapsed),
		p50:       out.latencies.quantile(0.5), p99: out.latencies.quantile(0.99), p999: out.latencies.quantile(0.999),
		idleRSS: idle, rss: residentBytes(pids), errors: out.errors,
	}, nil
}

// drive runs the load with the loop's own clients, or with a program beside it.
func drive(l load, c *benchCase, self string, target *net.TCPAddr, dir string) (outcome, error) {
	ended := make(chan struct{})
	if c.external() {
		l.conns, l.more = 0, ended
	}
	lp, err := newLoop(l)
	if err != nil {
		return outcome{}, err
	}
	defer lp.close()
	if !c.external() {
		return lp.run()
	}
	g, err := clientsFor(c, self, target, dir, l.warm+l.measure+time.Second)
	if err != nil {
		return outcome{}, err
	}
	var (
		failed  int64
		waitErr error
	)
	go func() {
		failed, waitErr = g.wait()
		close(ended)
	}()
	out, err := lp.run()
	g.stop()
	<-ended
	if err == nil {
		err = waitErr
	}
	out.errors = failed
	return out, err
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
