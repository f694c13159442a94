# make demo    the main job on a real Git history (GIT=path to read another repository)
# make test    the tests

GO      ?= go
GIT     ?= .
DEMO    ?=
export CGO_ENABLED ?= 0

ADDR    ?=
RUN     ?= .

.PHONY: build demo test race conformance bench bench-peer peers figures generate lint cross interop

build:
	$(GO) build -o bin/keyframe ./cmd/keyframe

# Builds into a temporary directory, where the demo keeps its data too, and removes it again, whatever happens.
demo:
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT HUP INT TERM && \
	GOTMPDIR="$$dir" $(GO) build -o "$$dir/keyframe" ./cmd/keyframe && TMPDIR="$$dir" "$$dir/keyframe" demo --git "$(GIT)" $(DEMO)

test:
	$(GO) test ./...

race:
	CGO_ENABLED=1 $(GO) test -race ./...

# What a Kafka client may rely on, tested on the broker at ADDR=host:port, or on one of ours that it starts. RUN is a pattern of tests.
conformance:
	@$(GO) run ./broker/conformance/report -addr "$(ADDR)" -run "$(RUN)"

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

# Keyframe beside Apache Kafka and JetStream KV, row by row, into bench/README.md; hours. ONLY=pattern of rows, PAIRS=how often,
# REPORT=directory for plots and raw data; QUICK=1: a hundredth of each row, to see that it runs, written nowhere.
bench-peer:
	@$(GO) run ./bench/suite -only '$(value ONLY)' -pairs $(or $(PAIRS),5) -report "$(REPORT)" $(if $(QUICK),-quick)

# The peers that are Go modules of their own, which `./...` leaves out: vet, staticcheck and tests.
peers:
	@cd bench/peers/nats && if $(GO) mod download; then \
	  $(GO) vet ./... && $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 -checks inherit,-ST1005 ./... && $(GO) test ./...; \
	else echo "SKIPPED LOUDLY: the modules of bench/peers/nats cannot be had"; fi

# What is promised of replicas, measured and beside its bound; ONLY=repair|wake|check|upkeep|alarm|reconnect|scrub for some of it.
figures:
	@$(GO) run ./bench/figures -only '$(value ONLY)'

# Generated code is committed; this reproduces it.
generate:
	sh proto/state/generate.sh

lint:
	@files=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$files" ]; then echo "not gofmt-ed: $$files"; exit 1; fi
	$(GO) vet ./...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 -checks inherit,-ST1005 ./... # Kafka is a name, at the start of an error too

# The binary for every platform that is supported, without cgo.
cross:
	@for target in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64; do \
	  echo "build $$target"; GOOS=$${target%/*} GOARCH=$${target#*/} $(GO) build -o /dev/null ./cmd/keyframe || exit 1; done

# Real clients against the real binary; broker/interop/doc.go says what can be set.
interop:
	$(GO) run ./broker/interop $(if $(ADDR),-addr $(ADDR)) $(if $(CLIENTS),-clients $(CLIENTS)) $(if $(ONLY),-only $(ONLY)) \
	  $(if $(REQUIRE),-require $(REQUIRE)) $(if $(README),-readme README.md) $(if $(JSON),-json $(JSON)) $(if $(LOGS),-logs $(LOGS)) $(if $(JOBS),-jobs $(JOBS))
