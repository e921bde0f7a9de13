STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOLANGCI    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
FUZZTIME    ?= 10s
BENCHTIME   ?= 1s
ROUNDS      ?= 20

# Packages that start goroutines or are called from several.
RACE := ./runtime ./state/... ./interceptor/... ./partitioner/... ./host/... ./internal/broker/... ./internal/metrics/... ./internal/admin/... ./internal/checker/... ./internal/faultproxy

# Packages whose tests also run on Apache Kafka, or compare with its classes.
KAFKA := ./internal/kafkatest ./partitioner ./interceptor ./host ./host/internal/consume ./host/faulttest ./host/killtest

.PHONY: help check lint test race fuzz kill kafka bench guests build
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

check: ## format, vet, layers, staticcheck; needs Go alone
	@.ci/check $(STATICCHECK)

lint: ## golangci-lint with .golangci.yml; fetches the pinned version
	go run $(GOLANGCI) run ./...

test: ## every test
	go test ./...

race: ## the concurrent packages under the race detector
	go test -race $(RACE)

fuzz: ## every fuzz target for FUZZTIME (10s)
	@.ci/fuzz $(FUZZTIME)

kill: ## kill hosts of an exactly-once pipeline ROUNDS (20) times and judge what came of it; KILLFLAGS="-state memory -seed 7"
	go test -count=1 -timeout 6h ./host/killtest -run TestKill -v -rounds $(ROUNDS) $(KILLFLAGS)

kafka: ## the suites on brokers of Apache Kafka, which Maven fetches once (KAFKAFLAGS=-short: brokers' faults alone)
	@.ci/kafka
	go test -tags kafka -count=1 -p 1 -timeout 40m $(KAFKAFLAGS) $(KAFKA)
	go test -tags kafka -count=1 -timeout 10m $(KAFKAFLAGS) -run TestApache ./cmd/klamm
	$(if $(KAFKAFLAGS),,go test -tags kafka -count=1 -timeout 20m ./host/internal/consume -protocol consumer)
	$(if $(KAFKAFLAGS),,go test -tags kafka -count=1 -timeout 20m ./host/killtest -run TestApacheKill -group consumer)

bench: ## every benchmark once, BENCHTIME (1s) each
	go test -run '^$$' -bench . -benchtime $(BENCHTIME) ./...

guests: ## rebuild the embedded plugin module and compare it with the one committed
	@.ci/guests

build: ## the klamm command, into bin/
	CGO_ENABLED=0 go build -trimpath -o bin/klamm ./cmd/klamm
