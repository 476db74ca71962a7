# Everything that a developer does. CI does the same: .ci/run.

PYTHON ?= python3
STACK  := $(PYTHON) infra/local/stack.py
TOOLS  := .local/tools/sam/bin
# One profile for all of it, so that a dependency is compiled once.
QUICK  := --profile quick --locked
NEXTEST := cargo nextest run --workspace --cargo-profile quick --locked

.DEFAULT_GOAL := help
.PHONY: help demo dev test check bench bench-readme bench-documents eval perf contract load fuzz watch token definitions deploy clean tools nextest fuzzer

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## nine runs through the deployed bundle: mail, document and task, by API, event and queue
	@$(PYTHON) infra/local/demo.py

dev: ## keep the bundle up on this machine, until Ctrl-C
	@$(STACK) dev

# The workspace is named whole each time: another selection would unite features differently and compile anew.
test: nextest ## units, contracts, integration, and end to end on the local AWS
	$(NEXTEST) -E 'not package(ihelper-e2e)'
	cargo test --doc --workspace $(QUICK)
	$(STACK) run --all-targets --traces --parameter SenderAddress=assistant@other.example -- \
	  $(STACK) run --all-targets --parameter LeaseSeconds=5 -- $(NEXTEST) --run-ignored all \
	  -E 'package(ihelper-e2e) or ((package(ihelper-adapters) or package(ihelper-performance)) and test(local::))'
	@$(MAKE) --no-print-directory contract SECONDS=25 SEED=1
	@$(MAKE) --no-print-directory fuzz SECONDS=10

check: ## formatting, lints, documentation, licences, advisories, templates
	@$(STACK) tools sam checkov
	cargo fmt --all --check
	cargo clippy --workspace --all-targets $(QUICK) -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps $(QUICK)
	$(TOOLS)/python infra/local/dependencies.py
	SAM_CLI_TELEMETRY=0 $(TOOLS)/sam validate --lint --region us-east-1
	$(TOOLS)/cfn-lint --regions us-east-1 -- template.yaml infra/templates/*.yaml
	$(TOOLS)/python infra/local/audit.py

# Measures on a quiet machine for some ten minutes; building the functions as SAM does takes longer. It fails at its end,
# when a claim does. ONLY=speed,processor,router,prices needs no function and no AWS.
ONLY ?=
bench: ## everything measured, as ratios, in target/bench: ONLY=sizes,cold,warm,memory,batch,telemetry,throughput,...
	@$(STACK) tools sam ministack
	cargo run --package ihelper-bench --profile bench-run --locked -- $(if $(ONLY),--only $(ONLY))

bench-readme: ## put the newest claims into README.md
	cargo run --package ihelper-bench --profile bench-run --locked -- --readme

bench-documents: ## memory and time that reading documents takes, the largest ones too
	cargo run --package ihelper-adapters --no-default-features --features extract --bin measure-documents \
		--profile bench-run --locked

# Keys and AWS credentials come from the environment, under the names that the configuration says.
EVAL ?=
eval: ## play the golden cases on every node of the configuration: EVAL="--config my.yaml --node near --repeat 5"
	cargo build --workspace --all-targets $(QUICK)
	@"$${CARGO_TARGET_DIR:-target}/quick/ihelper-eval" $(EVAL)

# Each option goes on only when it stands on the command line: an environment may have a MODE of its own. The address goes
# by the environment, since one of the local AWS has a dollar in it, and so does the token, which nobody is to see.
given = $(if $(filter command line,$(origin $(1))),$(2) '$(value $(1))')
told = $(if $(filter-out 0,$(if $(filter command line,$(origin $(1))),$(value $(1)))),$(2))
PERF_URL = $(if $(filter command line,$(origin URL)),$(value URL))
PERF = "$${CARGO_TARGET_DIR:-target}/quick/ihelper-performance" $(call given,WORKFLOW,--workflow) $(call given,N,--runs) \
  $(call given,CONCURRENCY,--concurrency) $(call given,WARMUP,--warmup) $(call given,MODE,--mode) \
  $(call given,INPUT,--input) $(call given,BASELINE,--baseline) $(call given,OUT,--out) \
  $(call given,PATIENCE,--patience) $(call given,MEMORY,--memory) \
  $(call told,ACCEPT,--accept) $(call told,FAIL_ON_SLOWER,--fail-on-slower)
perf: export IHELPER_API_URL := $(PERF_URL)
perf: export IHELPER_TOKEN := $(if $(filter command line,$(origin TOKEN)),$(value TOKEN),$(value IHELPER_TOKEN))
perf: ## runs of a workflow over HTTP, what they took, what became slower: WORKFLOW=email_processing N=100 [URL=...]
ifneq ($(PERF_URL),)
	@cargo build --workspace --all-targets $(QUICK)
	@$(PERF)
else
	@$(STACK) run --all-targets -- $(PERF)
endif

contract: ## every route, in every way that its contract allows and forbids, as nobody, a user and an operator: SECONDS for each
	$(STACK) run --all-targets -- $(PYTHON) infra/local/contract.py --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

CALLS ?= 20000
load: nextest ## CALLS calls over 64 connections, a tenth of them hostile: no fault, no leak, no growth; prints its figures
	$(STACK) run --all-targets -- env IHELPER_LOAD=$(CALLS) $(NEXTEST) --no-capture \
	  -E 'package(ihelper-e2e) and test(load::)'

# What it finds lies in tests/fuzz/artifacts; `cargo fuzz run` with that file as its argument plays it again. No sanitizer:
# that would take another toolchain, and there is no unsafe code here for one to watch.
FUZZ_TARGETS := mail documents definitions inputs events
SECONDS ?= 600
fuzz: fuzzer ## mail, documents, definitions, inputs and events at random, SECONDS for each: no panic, hang or flood of memory
	@for target in $(FUZZ_TARGETS); do \
	  log=tests/fuzz/corpus/$$target.log; mkdir -p tests/fuzz/corpus/$$target; \
	  PATH="$(CURDIR)/$(FUZZER)/bin:$$PATH" cargo fuzz run --fuzz-dir tests/fuzz --sanitizer none $$target \
	    tests/fuzz/corpus/$$target tests/fuzz/seeds/$$target -- -max_total_time=$(SECONDS) -verbosity=0 \
	    -print_final_stats=1 -rss_limit_mb=1024 -timeout=10 -max_len=65536 >$$log 2>&1 || { tail -n 60 $$log; exit 1; }; \
	  awk -v target=$$target '/executed_units/ { runs = $$2 } /peak_rss/ { memory = $$2 } \
	    END { printf "fuzzed %s: %d inputs, at most %d MB, nothing found\n", target, runs, memory }' $$log; \
	done

watch: ## serve the API from the sources, reloading, against the AWS of a running `make dev`
	@$(STACK) watch

# USER and GROUPS count only when they stand on the command line: a shell has a USER of its own.
token: ## print a token for the local API: make token USER=alice GROUPS=operators
	@$(STACK) token \
	  --user '$(if $(filter command line,$(origin USER)),$(USER),alice)' \
	  --groups '$(if $(filter command line,$(origin GROUPS)),$(GROUPS),operators)'

# Elsewhere than to `make dev`: make definitions API_URL=https://… TOKEN=…, with an operator's token.
REASON ?= pushed from the repository
# As they were given: an address of the local AWS has a dollar in it.
definitions: export IHELPER_API_URL := $(value API_URL)
definitions: export IHELPER_TOKEN := $(value TOKEN)
definitions: export IHELPER_REASON := $(value REASON)
definitions: ## make infra/definitions the current ones of a running bundle, saying what changed: REASON=... CANARY=10
	@$(PYTHON) infra/local/definitions.py --reason "$$IHELPER_REASON" $(if $(CANARY),--canary $(CANARY))

# Zig links for the processor and the C library of Lambda, whatever those of this machine are; sam finds cargo-lambda,
# and that finds Zig, on the path.
ARCHITECTURE ?= arm64
deploy: ## build for AWS and deploy there, asking what it needs to know: ARCHITECTURE=arm64 or x86_64
	@$(STACK) tools sam
	$(TOOLS)/python -m pip install --quiet --no-deps --requirement infra/local/requirements-cross.txt
	PATH="$(CURDIR)/$(TOOLS):$$PATH" sam build --parameter-overrides Architecture=$(ARCHITECTURE)
	PATH="$(CURDIR)/$(TOOLS):$$PATH" sam deploy --guided --parameter-overrides Architecture=$(ARCHITECTURE)

clean: ## forget everything built, installed and logged
	rm -rf target tests/fuzz/target .local .aws-sam

tools:
	@$(STACK) tools

FUZZER := .local/tools/fuzzer
fuzzer:
	@test -x $(FUZZER)/bin/cargo-fuzz || cargo install cargo-fuzz --locked --version 0.13.2 --root $(FUZZER)

nextest:
	@command -v cargo-nextest >/dev/null || cargo install cargo-nextest --locked --version 0.9.143
