//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"time"
)

// reverseProxy is the peer that Go brings along, with an access log. Its HTTP/2
// is that of golang.org/x/net/http2, which net/http contains; with grpc it is
// spoken to the upstream, too.
func reverseProxy(listen, to, logTo, cert, key string, grpc bool) error {
	file, err := os.Create(logTo)
	if err != nil {
		return err
	}
	var (
		mu  sync.Mutex
		out = json.NewEncoder(bufio.NewWriterSize(file, 64<<10))
	)
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: to})
	transport := &http.Transport{MaxIdleConns: 4096, MaxIdleConnsPerHost: 4096, DisableCompression: true,
		DialContext: (&net.Dialer{}).DialContext}
	if grpc {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	proxy.Transport = transport
	proxy.ErrorLog = log.New(os.Stderr, "", 0)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		counted := &countedWriter{ResponseWriter: w}
		proxy.ServeHTTP(counted, r)
		mu.Lock()
		defer mu.Unlock()
		_ = out.Encode(map[string]any{"time": start, "client": r.RemoteAddr, "method": r.Method, "host": r.Host, "uri": r.RequestURI,
			"status": counted.status, "bytes": counted.bytes, "duration": time.Since(start).Seconds(), "agent": r.UserAgent()})
	})
	server := &http.Server{Addr: listen, Handler: handler, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	if cert != "" {
		server.Protocols.SetHTTP2(true)
		return server.ListenAndServeTLS(cert, key)
	}
	server.Protocols.SetUnencryptedHTTP2(true)
	return server.ListenAndServe()
}

type countedWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *countedWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *countedWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Flush keeps streaming possible through the wrapper.
func (w *countedWriter) Flush() { w.ResponseWriter.(http.Flusher).Flush() }
