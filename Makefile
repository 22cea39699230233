# `make` alone lists the targets. Everything is installed into .venv; nothing outside this folder changes.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install demo demo-federation test test-quick lint format bench soak profile chaos fuzz docs lock clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.runtime: requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Postroad needs Python 3.11 or newer")'
	@echo "Installing what Postroad needs into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo "Installing what the tests need into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	@touch $@

install: $(VENV)/.runtime  ## Install Postroad into .venv

demo: $(VENV)/.runtime  ## Start a whole ecosystem and exchange messages (ARGS=--once, ARGS=--fresh)
	@$(BIN)/postroad demo $(ARGS)

demo-federation: $(VENV)/.runtime  ## Start two federated ecosystems and a configuration proxy (ARGS=--once)
	@$(BIN)/postroad demo --federation $(ARGS)

test: $(VENV)/.dev  ## Run the tests, with coverage
	@rm -f .coverage .coverage.*
	@$(BIN)/python -m pytest -q -n 2 --dist loadgroup --cov --cov-report= $(ARGS)
	@$(BIN)/python -m coverage report --skip-covered --sort=cover | tail -n 40

test-quick: $(VENV)/.dev  ## Run the tests that start no process
	@$(BIN)/python -m pytest -q -n 2 tests/unit tests/properties tests/attacks tests/fuzz $(ARGS)

lint: $(VENV)/.dev  ## Check format, style, types and the direction of imports
	@$(BIN)/ruff format --check src tests bench docs
	@$(BIN)/ruff check src tests bench docs
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.dev  ## Write the code in its one format
	@$(BIN)/ruff format src tests bench docs
	@$(BIN)/ruff check --fix src tests bench docs

bench: $(VENV)/.dev  ## Measure the whole system as ratios to the bare costs (ARGS=--quick: 2 minutes)
	@$(BIN)/python -m bench $(ARGS)

soak: $(VENV)/.dev  ## Load two servers for an hour and watch their memory (ARGS="--minutes 10")
	@$(BIN)/python -m bench.soak $(ARGS)

profile: $(VENV)/.dev  ## Say where an exchange's time goes (ARGS="--workload post-10k --keys EC-P256")
	@$(BIN)/python -m bench.profiling $(ARGS)

chaos: $(VENV)/.dev  ## Break whole systems in every way and count (ARGS=--quick; root sees more)
	@PYTHONPATH=tests:. $(BIN)/python -m chaos.run $(ARGS)

fuzz: $(VENV)/.dev  ## Fuzz every parser of outside bytes for long (ARGS="--seconds 600 container")
	@PYTHONPATH=tests:. $(BIN)/python -m fuzz.run $(ARGS)

docs: $(VENV)/.runtime  ## Write the reference pages that come from the code
	@$(BIN)/python docs/generate.py

lock:  ## Resolve the dependencies anew and write both lock files
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml --extra build -o requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml --extra build --group dev -o requirements-dev.lock

clean:  ## Remove what was built, installed and made by the demo
	rm -rf $(VENV) demo-home bench-home dist htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
