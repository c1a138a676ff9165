# Two commands do all set-up on a machine that has Rust and a C compiler: `make demo` and `make test`.
#
# Whatever contains the AWS SDK is built with one package set (--workspace) and one profile: another
# set selects other features of shared dependencies and compiles the SDK, minutes of work, again.

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
ARGS ?=

.PHONY: help demo simulate emulator test lint bench fuzz limits bins plugin figures clean

help: ## Show this list.
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' $(MAKEFILE_LIST) | awk -F': ' '{ printf "  make %-9s %s\n", $$1, $$2 }'

demo: bins plugin ## Run the VPC in a box; options go in ARGS="--json --mode prefix".
	@$(TARGET_DIR)/debug/vpc-in-a-box $(ARGS)

simulate: ## Simulate a fleet; options go in ARGS="--nodes 1000 --hours 24 --workload daily".
	@$(CARGO) build --quiet --locked --release -p vpc-examples --bin simulate
	@$(TARGET_DIR)/release/simulate $(ARGS)

emulator: ## Serve EC2 and instance metadata; options go in ARGS="--ec2 127.0.0.1:4566 --imds 127.0.0.1:1338".
	@$(CARGO) build --quiet --locked -p vpc-examples --bin vpc-emulator
	@exec $(TARGET_DIR)/debug/vpc-emulator $(ARGS)

test: bins plugin ## Build and run every test; ends with counts of passed, failed and skipped.
	@scripts/test.sh

lint: ## Formatting, clippy with warnings denied, direction of dependencies.
	@scripts/lint.sh

bench: ## Benchmarks; each compares two things in one run.
	@scripts/bench.sh $(ARGS)

fuzz: ## Fuzz every target for FUZZ_SECONDS (60) each; needs cargo-fuzz, and installs it if missing.
	@scripts/fuzz.sh $(ARGS)

figures: plugin ## Sizes, memory and latencies of release builds.
	@scripts/figures.sh $(ARGS)

limits: bins ## Make the table of instance limits from EC2 (docs/instance-limits.md); options go in ARGS.
	@$(TARGET_DIR)/debug/instance-limits $(ARGS)

bins:
	@$(CARGO) build --locked --workspace --bins

plugin:
	@scripts/build-plugin.sh

clean:
	@$(CARGO) clean
