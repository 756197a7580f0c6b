# The front door: `make demo`, `make test`, `make bench`, `make release`, `make lint`, `make fuzz`.
# Each installs what it needs on a bare Debian 12 and is quick the second time.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build
.PHONY: help deps build release demo test bench lint fuzz clean

PYTHON ?= $(shell [ -x /usr/bin/python3 ] && echo /usr/bin/python3 || echo python3)
FUZZ_SECONDS ?= 30
# What `make bench` is told, e.g. BENCH_FLAGS=--quick
BENCH_FLAGS ?=
REDIS_BENCH_FLAGS ?= $(filter --quick,$(BENCH_FLAGS))
# changed (since LINT_BASE, uncommitted work included) or all; formatting always looks at all.
LINT ?= changed
LINT_BASE ?= HEAD~1

help:
	@echo "make build | release | demo | test | bench | lint | fuzz | clean | deps"
	@echo "  FUZZ_SECONDS=$(FUZZ_SECONDS)  BENCH_FLAGS='$(BENCH_FLAGS)'  LINT=changed|all  LINT_BASE=$(LINT_BASE)"

deps:
	@cmake/install_packages build demo test bench lint

build:
	@cmake/install_packages build
	cmake --preset release
	cmake --build --preset release

# Built twice: once to count what runs under load, once by those counts (docs/adr/0004-hot-and-cold.md).
release:
	@cmake/install_packages build bench
	@cmake --preset profile >/dev/null
	cmake --build --preset profile
	@trained=build/profile/counts/trained; \
	    [ $$trained -nt build/profile/breakwater ] && [ $$trained -nt bench/train.py ] || $(PYTHON) bench/train.py
	@cmake --preset bench >/dev/null
	cmake --build --preset bench
	@echo "built by profile: build/bench/breakwater"

demo:
	@cmake/install_packages build demo
	@cmake --preset release >/dev/null
	cmake --build --preset release
	@$(PYTHON) bench/demo/demo.py

test:
	@cmake/install_packages build demo test
	@$(PYTHON) test/run

bench: release
	@if [ -x build/bench/bench/breakwater_micro ]; then \
	    build/bench/bench/breakwater_micro --benchmark_out=build/bench/micro.json --benchmark_out_format=json; fi
	@export BREAKWATER_BIN=$${BREAKWATER_BIN:-build/bench/breakwater}; over=0; \
	    $(PYTHON) bench/run.py $(BENCH_FLAGS) || over=1; \
	    $(PYTHON) bench/redis_run.py $(REDIS_BENCH_FLAGS) || over=1; exit $$over

lint:
	@cmake/install_packages build lint
	@cmake --preset release >/dev/null
	@cmake/lint $(LINT) $(LINT_BASE)

fuzz:
	@cmake/install_packages build test
	@cmake --preset fuzz >/dev/null
	@test/fuzz/run $(FUZZ_SECONDS)

clean:
	rm -rf build
