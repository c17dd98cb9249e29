# Moneta. Bare `make` prints this help; the two that a newcomer needs are
# `make demo` and `make test`.

SHELL       := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help

GO            ?= go
GOLANGCI      ?= golangci-lint
GOLANGCI_WANT := 2.15.0
# Two packages at a time: each may run its own Postgres, and more only wait for the disk.
TEST_P        ?= 2
# One package may take this long before its goroutines are dumped.
TEST_TIMEOUT  ?= 15m
# What takes longest, and mostly waits, begins first: at the end it would be alone. Go tells
# of packages in this order, so that nothing is told until it is through.
LONGEST       ?= ./test/torture
FUZZTIME      ?= 20s
BENCHTIME     ?= 2s
# How many mistakes are planted, and which ones.
MUTANTS       ?= 300
SEED          ?= 1
# How long one package may torture itself.
TORTURE_TIMEOUT ?= 6h

# Where go.dev says to put Go; sudo and a bare root shell do not look there.
export PATH := $(PATH):/usr/local/go/bin
# Git refuses a clone of another user's (make as root in one's own clone), and
# go build then stops, because it cannot stamp the revision.
ifneq ($(shell git rev-parse --git-dir >/dev/null 2>&1 || echo no),)
export GOFLAGS := $(shell PATH="$(PATH)" $(GO) env GOFLAGS 2>/dev/null) -buildvcs=false
endif

.PHONY: help
help: ## print this help
	@awk 'BEGIN {FS = ":.*## "; print "make <target>\n"} \
		/^[a-z][a-z-]*:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install what building and testing need (Postgres 15+, Go modules); safe to repeat
	@scripts/setup.sh

.PHONY: console
console: ## build the web console that the binary embeds; needs npm, and nothing to do when nothing changed
	@scripts/console.sh

.PHONY: build
build: console ## build bin/moneta
	@mkdir -p bin
	$(GO) build -trimpath -ldflags "-X main.version=$$(git describe --always --dirty 2>/dev/null || echo dev)" -o bin/moneta ./cmd/moneta

.PHONY: demo
demo: setup build ## see payments move, a bank misbehave, and the books agree afterwards
	@bin/moneta demo

# Prints go's own lines as they come, then a summary; exits as go test does. The binary
# that several packages start is built once, unless MONETA_BINARY names one.
define go-test
@start=$$(date +%s); \
if [ -z "$$MONETA_BINARY" ]; then \
	dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && $(GO) build -o "$$dir/moneta" ./cmd/moneta || exit 1; \
	export MONETA_BINARY="$$dir/moneta"; \
fi; \
$(GO) test $(1) 2>&1 | awk -v start="$$start" ' \
	{ print; fflush() } \
	/^ok[ \t]/ { ok++ } \
	/^FAIL[ \t]/ { failed = failed "\n  " $$2 } \
	/^--- FAIL: / { tests = tests "\n  " $$3 } \
	END { \
		"date +%s" | getline now; \
		printf "\n%d packages passed in %d s\n", ok, now - start; \
		if (failed) printf "failed packages:%s\n", failed; \
		if (tests) printf "failed tests:%s\n", tests \
	}'
endef

.PHONY: test
test: setup console ## run every test against a real Postgres; about 15 minutes on 2 cores
	$(call go-test,-timeout $(TEST_TIMEOUT) -p $(TEST_P) $(LONGEST) ./...)
	@command -v hledger >/dev/null || echo "NO OUTSIDE JUDGE: hledger is not installed, so the exported journal was judged by nobody but its authors"
	@command -v promtool >/dev/null || echo "NO OUTSIDE JUDGE: promtool is not installed, so nobody but us has tried the rules for alerts and for error budgets"
	@command -v node >/dev/null || echo "NOT RUN: node is not installed, so neither the recipes in TypeScript nor the browser's verifier of receipts were executed"
	@[ -f console/dist/index.html ] || echo "NOT RUN: the console was not built, so no browser looked at it"
	@command -v chromium >/dev/null || echo "NOT RUN: chromium is not installed, so no browser looked at the console"
	@command -v openssl >/dev/null || echo "NO OUTSIDE JUDGE: openssl is not installed, so nobody but us verified a signed proof"
	@compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || echo "NOT RUN: libfaketime is not installed, so no database's clock leapt"
	@[ "$$(id -u)" = 0 ] || echo "NOT RUN: not root, so no small disk was mounted for the doctor's journal to fill"
	@(cd test/network && GOPROXY=off $(GO) mod download >/dev/null 2>&1) || echo "NOT RUN: toxiproxy's Go modules are not here, so no link between the parts failed"
	@sleep 2 >/dev/null 2>&1 & timeout 1 strace -qq -o /dev/null -p $$! 2>/dev/null; \
		[ $$? -eq 124 ] || echo "NOT RUN: strace is not installed, or may not look into a process here, so no flush of the disk was slow or failed"

.PHONY: race
race: setup console ## run every test with the race detector; slower; needs a C compiler
	@command -v $$($(GO) env CC) >/dev/null || { echo "the race detector needs a C compiler: install gcc and libc6-dev"; exit 2; }
	$(call go-test,-race -timeout 20m -p $(TEST_P) $(LONGEST) ./...)

.PHONY: check
check: format lint generated openapi race ## everything a change must pass before it is merged

.PHONY: format
format: ## say which files are not formatted
	@wrong=$$(git ls-files -co --exclude-standard '*.go' | xargs -r gofmt -l); \
	if command -v gofumpt >/dev/null; then wrong="$$wrong $$(git ls-files -co --exclude-standard '*.go' | xargs -r gofumpt -l)"; fi; \
	if [ -n "$${wrong// }" ]; then echo "not formatted:" $$wrong; exit 1; fi

.PHONY: lint
lint: ## vet, and golangci-lint when it is installed (see lint-install)
	$(GO) vet ./...
	@if ! command -v $(GOLANGCI) >/dev/null; then \
		echo "golangci-lint is not installed: run 'make lint-install' (about ten minutes), then again"; \
	elif ! $(GOLANGCI) version | grep -q 'version $(GOLANGCI_WANT) '; then \
		echo "golangci-lint is not $(GOLANGCI_WANT): run 'make lint-install'"; exit 1; \
	else $(GOLANGCI) run ./...; fi

.PHONY: lint-install
lint-install: ## build golangci-lint at the pinned version; about ten minutes on 2 cores
	$(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(GOLANGCI_WANT)

# A package with generated files has a test that fails when they have drifted and
# rewrites them with -update.
GENERATING = $$(grep -rlE --include='*_test.go' 'flag\.Bool\("update"' . | xargs -r -n1 dirname | sort -u)

.PHONY: generate
generate: ## rewrite generated files (pages of errors, state diagram, OpenAPI document)
	@$(GO) generate ./...
	@for p in $(GENERATING); do echo "$$p"; $(GO) test -count=1 $$p -update || exit 1; done

.PHONY: generated
generated: ## fail when a generated file differs from its source
	@for p in $(GENERATING); do $(GO) test -count=1 $$p || exit 1; done

REDOCLY_WANT := 2.77.0

.PHONY: openapi
openapi: setup ## let two outside judges (redocly, kin-openapi) judge the OpenAPI document and every answer of the API's tests
	@set -e; MONETA_RECORD=$$(mktemp -d); export MONETA_RECORD; trap 'rm -rf "$$MONETA_RECORD"' EXIT; \
	$(GO) test -count=1 -timeout $(TEST_TIMEOUT) ./api; \
	(cd test/contract && $(GO) test -count=1 -v ./... | grep -E '^(---|ok|FAIL|panic| +contract_test)'); \
	if command -v npx >/dev/null; then \
		REDOCLY_TELEMETRY=off npx --yes @redocly/cli@$(REDOCLY_WANT) lint --config redocly.yaml "$$MONETA_RECORD/openapi.json"; \
	else echo "NO OUTSIDE JUDGE: npx is not installed, so redocly did not look at the document"; fi

.PHONY: torture
torture: export MONETA_TORTURE = 1
torture: setup ## the same tests, each doing much more (MONETA_TORTURE=1): longer runs, more kills, more seeds
	$(call go-test,-count=1 -timeout $(TORTURE_TIMEOUT) -p 1 ./...)

.PHONY: fuzz
fuzz: ## fuzz every parser of outside bytes, FUZZTIME (20s) each
	@grep -rlE --include='*_test.go' '^func Fuzz' . | while read -r f; do \
		for t in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]+).*/\1/p' "$$f"); do \
			echo "== $$(dirname "$$f") $$t"; \
			$(GO) test -run '^$$' -fuzz "^$$t\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$f")" || exit 1; \
		done; \
	done

.PHONY: mutants
mutants: setup ## plant mistakes in the ledger's rules, one at a time, and print those that no test sees; MUTANTS (300) of each part, by SEED
	@failed=0; $(GO) run ./test/mutants -least 90 -seed $(SEED) -sample $(MUTANTS) -args -rapid.nofailfile pay/next.go pay/table.go pay/linked.go pay/moves.go pay/disposition.go || failed=1; \
	$(GO) run ./test/mutants -least 90 -seed $(SEED) -sample $(MUTANTS) -run 'Post|Overdraft|Held|Unpost|Books' -args -rapid.nofailfile pay/ledger/post.go pay/ledger/account.go || failed=1; \
	exit $$failed

.PHONY: bench
bench: setup console ## run the benchmarks, BENCHTIME (2s) each
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) -p 1 ./...

.PHONY: clean
clean: ## remove what make built; data folders stay
	rm -rf bin console/web/dist
	find console/dist -mindepth 1 ! -name .keep -delete
	$(GO) clean -testcache
