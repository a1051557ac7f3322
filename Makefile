# `make demo` shows what volgc does on a throwaway engine; `make test` runs every test; both install what they need.

CARGO ?= cargo
DENY_VERSION := 0.20.2
NEXTEST_VERSION := 0.9.143

.PHONY: all build demo test lint format audit bench setup tools

all: build

build:
	$(CARGO) build --release --locked

setup:
	tests/setup

tools:
	@$(CARGO) nextest --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-nextest@$(NEXTEST_VERSION)
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny@$(DENY_VERSION)

demo:
	tests/demo

test: setup tools
	$(CARGO) nextest run --locked
	$(CARGO) test --locked --doc

lint: tools
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) deny check --hide-inclusion-graph bans licenses sources

audit: tools
	$(CARGO) deny check advisories

format:
	$(CARGO) fmt

bench: setup
	benches/report_speed
