# What people type. `make` alone lists it.

GO       ?= go
export GOTOOLCHAIN = local
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS   = -s -w -X main.version=$(VERSION)
FUZZTIME ?= 200000x

.PHONY: help build run test quick race cross lint bench fuzz generate clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## bin/weir
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/weir ./cmd/weir

run: build ## Weir in front of two small upstreams: http://127.0.0.1:8080
	$(GO) run ./examples/quickstart -weir bin/weir

test: tools build ## everything that CI runs
	$(GO) vet ./...
	cd tools/reference && $(GO) run . -root ../.. -check
	$(GO) test -timeout 10m ./...
	$(MAKE) race cross lint

quick: ## the tests of packages alone, without -race and cross builds
	$(GO) test ./...

race: ## the tests in which goroutines meet, with the race detector
	$(GO) test -race -timeout 15m ./internal/... ./stream/... ./filter/... ./filters/...

cross: ## builds for the other systems
	GOOS=linux GOARCH=arm64 $(GO) build -o /dev/null ./cmd/weir
	GOOS=darwin GOARCH=arm64 $(GO) build -o /dev/null ./cmd/weir

.PHONY: tools
tools: ## what the tests need from the system (Debian)
	@command -v curl >/dev/null || { apt-get update -qq && apt-get install -y -qq curl; }
	@command -v redis-server >/dev/null || { apt-get update -qq && apt-get install -y -qq redis-server; }
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq postgresql; }
	@command -v gcc >/dev/null || { apt-get update -qq && apt-get install -y -qq gcc libc6-dev; } # for -race
	@command -v nghttp >/dev/null || { apt-get update -qq && apt-get install -y -qq nghttp2-client; } # with h2load
	@command -v dig >/dev/null || { apt-get update -qq && apt-get install -y -qq bind9-dnsutils; }
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq chromium; } # for test/interop

lint: ## golangci-lint, built from tools/
	cd tools/golangci-lint && $(GO) build -o ../../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	bin/golangci-lint run ./...

bench: build ## side by side with nginx, HAProxy and httputil.ReverseProxy
	@command -v nginx >/dev/null || { apt-get update -qq && apt-get install -y -qq nginx; }
	@command -v haproxy >/dev/null || { apt-get update -qq && apt-get install -y -qq haproxy; }
	@command -v h2load >/dev/null || { apt-get update -qq && apt-get install -y -qq nghttp2-client; }
	@test -e /usr/lib/nginx/modules/ngx_stream_module.so || { apt-get update -qq && apt-get install -y -qq libnginx-mod-stream; }
	$(GO) build -o bin/bench ./test/bench
	bin/bench -weir bin/weir $(BENCHFLAGS)

fuzz: ## every fuzz target for FUZZTIME executions (or a time: 1m)
	GO=$(GO) FUZZTIME=$(FUZZTIME) sh tools/fuzz.sh

generate: ## reference, schema and what else is made from the code
	cd tools/reference && $(GO) run . -root ../..

clean: ## remove what was built
	rm -rf bin
