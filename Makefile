# `make demo` runs everything on this machine; `make test` checks everything. Both do their own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUS ?= embedded

.PHONY: help setup setup-dev demo test lint lock clean

help:
	@echo "make demo [BUS=pulsar]   the whole system with a sample shop and simulated shoppers"
	@echo "make test                lint, types and every test"
	@echo "make setup               only the set-up (virtual environment $(VENV))"

setup: $(VENV)/.installed

setup-dev: $(VENV)/.installed-dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 13) else f"Afterclick needs Python 3.11 or 3.12, this is {v[0]}.{v[1]}; try: make $(MAKECMDGOALS) PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

# The numba kernels are compiled here, once, so that no visitor waits for a compiler.
$(VENV)/.installed: $(VENV)/bin/python requirements.lock pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/afterclick compile
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

demo: setup
	$(BIN)/afterclick demo --bus $(BUS)

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The tests start a real Pulsar and a real Chromium; what is missing for them is installed first.
test: setup-dev
	bash deploy/test-packages.sh
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest

# Renew the lock files (needs the program uv); hashes and versions only, no addresses.
UV_COMPILE := uv pip compile pyproject.toml --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate -q
lock:
	$(UV_COMPILE) --group build -o requirements.lock
	$(UV_COMPILE) --group dev -o requirements-dev.lock
	$(subst pyproject.toml,requirements-feast.in,$(UV_COMPILE)) -o requirements-feast.lock

clean:
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis
