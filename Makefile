# `make demo` shows what volgc does on a throwaway engine. `make check` is for each commit, `make test` runs everything on one
# engine and the most of it on the newest, `make test-long` all of it on every engine. All but `check` install what they need.

CARGO ?= cargo
DENY_VERSION := 0.20.2
FUZZ_VERSION := 0.13.2
# How long each target is fuzzed.
SECONDS ?= 60

MINUTES ?= 10
ENGINE ?=
SEED ?=

.PHONY: all build check deb image demo test test-long test-package soak lint format audit bench fuzz setup tools

all: build

build:
	$(CARGO) build --release --locked

deb:
	deploy/deb

image:
	deploy/image

setup:
	tests/setup

tools:
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny@$(DENY_VERSION)

demo:
	tests/demo

# What a contributor runs before each commit: no root, no engine, no network.
check:
	tests/run check

test: setup
	tests/run test

test-long: setup
	tests/run long

# A storm of users, operators and kills on a real engine: make soak MINUTES=60 ENGINE=26.1 SEED=7. On every engine without ENGINE.
soak: setup
	VOLGC_SOAK_MINUTES=$(MINUTES) VOLGC_SOAK_SEED=$(SEED) \
	$(CARGO) test --locked --test soak -- --nocapture --test-threads 1 nothing_is_lost$(if $(ENGINE),::v$(subst .,_,$(ENGINE)))

# The package and the image, built, installed and run in a Debian system of their own.
test-package: setup
	tests/package

lint: tools
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) deny check --hide-inclusion-graph bans licenses sources

audit: tools
	$(CARGO) deny check advisories

format:
	$(CARGO) fmt --all

bench: setup
	benches/report_speed

# The compiler of the project does: RUSTC_BOOTSTRAP lets it take libFuzzer's options, and there is no unsafe code for a
# sanitizer to watch. What is found is kept in fuzz/artifacts; put it into tests/corpus/TARGET once it is mended.
fuzz:
	@$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz@$(FUZZ_VERSION)
	cd fuzz && export RUSTC_BOOTSTRAP=1 && $(CARGO) fuzz build -s none && for target in $$($(CARGO) fuzz list); do \
		mkdir -p corpus/$$target && $(CARGO) fuzz run -s none $$target corpus/$$target ../tests/corpus/$$target -- \
			-max_total_time=$(SECONDS) -timeout=20 -rss_limit_mb=2048 -max_len=8192 || exit 1; \
	done
