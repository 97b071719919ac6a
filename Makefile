# Needs Python >= 3.11 with venv, and make. Everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SOURCES := autohedge api/autohedge_api

# Bytecode is worth having here: without it every start imports several times slower.
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Recorded market data beside the checkout is found by itself; set AUTOHEDGE_DATA to use another folder.
AUTOHEDGE_DATA ?= $(abspath $(wildcard ../shared/data))
ifneq ($(AUTOHEDGE_DATA),)
export AUTOHEDGE_DATA
endif

.DEFAULT_GOAL := help
.PHONY: help setup run test check lint types floors unit bench docs lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with the locked packages and this checkout in it

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else "Python 3.11, 3.12 or 3.13 is needed, found %d.%d: set PYTHON=" % v)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-index --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q $(SOURCES)
	@touch $@

run: setup ## run the hedge fund on the simulated market
	$(BIN)/autohedge run $(ARGS)

test: check ## the whole check, as CI runs it

check: lint types floors unit ## lint, types, import rules and tests

lint: setup ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## mypy --strict
	$(BIN)/mypy

floors: setup ## imports go down the floors only
	$(BIN)/lint-imports

unit: setup ## the tests alone; ARGS="-k name" narrows them
	$(BIN)/pytest $(ARGS)

bench: setup ## the benchmarks, each beside its peers
	$(BIN)/python -m benchmarks $(ARGS)

docs: setup ## build the documentation into site/; a broken link fails
	$(BIN)/mkdocs build --clean --strict

lock: ## resolve requirements.lock again, with uv from a throw-away venv
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp" uv.lock' EXIT && rm -f uv.lock && set -ex && \
	$(PYTHON) -m venv "$$tmp" && \
	"$$tmp/bin/python" -m pip install --quiet --only-binary :all: 'uv>=0.13,<0.14' && \
	UV_PYTHON_DOWNLOADS=never "$$tmp/bin/uv" lock --quiet --python "$$tmp/bin/python" && \
	"$$tmp/bin/uv" export --quiet --frozen --all-extras --no-emit-project --format requirements-txt --no-header \
		--no-annotate --output-file requirements.lock >/dev/null

clean: ## remove .venv and everything built
	rm -rf $(VENV) build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(SOURCES) tests -name __pycache__ -type d -prune -exec rm -rf {} +
