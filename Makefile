GO          ?= go
FUZZTIME    ?= 10s
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS     := -X main.version=$(VERSION)

.DEFAULT_GOAL := help
.PHONY: help run build test check golden gen fuzz bench faults new-policy cover fmt vet

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## build and start the demo: a gateway, an origin, some policies
	bin/sluice demo

build: ## build bin/sluice
	@mkdir -p bin
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/sluice ./cmd/sluice

test: ## everything, as CI runs it; installs what it needs
	tools/setup/test.sh
	@$(MAKE) --no-print-directory fmt vet
	$(GO) test -timeout 15m ./...
	SLUICE_RACE=1 timeout --foreground 30m $(GO) test -race -short -timeout 15m ./...

check: fmt vet ## fmt, vet, staticcheck and the short tests with the race detector, within a minute
	$(GO) run $(STATICCHECK) ./...
	SLUICE_RACE=1 $(GO) test -race -short -timeout 1m ./...

fmt:
	@files=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	if [ -n "$$files" ]; then echo "not formatted (run gofmt -w):"; echo "$$files"; exit 1; fi

vet:
	$(GO) vet ./...

golden: ## write the golden files anew; then read the diff
	@grep -rl --include='*_test.go' 'flag.Bool("update"' . | xargs -n 1 dirname | sort -u | \
	while read -r dir; do $(GO) test $$dir -update || exit 1; done

gen: ## write all generated files anew: schemas, tables in the documentation
	$(GO) run ./tools/gen

fuzz: ## each fuzz target for FUZZTIME (10s)
	tools/fuzz.sh $(FUZZTIME)

bench: build ## compare with nginx, HAProxy and Caddy; BENCH="-quick -only bare", BENCH=-write
	tools/setup/bench.sh
	$(GO) run ./tools/bench -sluice bin/sluice $(BENCH)

faults: build ## what clients see when origins fail; FAULTS="-only overload"
	SLUICE_BINARY=$(CURDIR)/bin/sluice $(GO) run ./test/faults/report $(FAULTS)

new-policy: ## begin a policy: make new-policy NAME=my_policy
	$(GO) run ./tools/newpolicy $(NAME)

cover: ## which statements the tests reach, by package
	$(GO) test -short -coverprofile=cover.out -coverpkg=./... ./... >/dev/null
	$(GO) tool cover -func=cover.out | tail -n 1
	@rm -f cover.out
