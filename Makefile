# Stampede: every task of the house. Needs Python 3.11 with venv, make and coreutils, nothing else.
# Paths are relative throughout, so that a checkout in a folder with spaces works.

PYTHON ?= python3
ARGS   ?=
VENV   := .venv
BIN    := $(VENV)/bin

# One pinned installer: it resolves nothing (the locks did), it only fetches and verifies hashes.
UV_VERSION := 0.13.9
export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Two test processes: each has its own PostgreSQL and gate store, and the reference machine has two cores.
TEST_PROCESSES ?= 2

.DEFAULT_GOAL := help
.PHONY: help install install-dev up demo test bench faults check format screenshots clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}' Makefile
	@echo '  ARGS="…" is handed on: make demo ARGS="--exit --shoppers 20000 --stock 500"'

install: ## set up .venv with what the platform needs to run
	@$(call install_lock,run,requirements.lock)

install-dev: ## the same with what its tests and checks need
	@$(call install_lock,dev,requirements-dev.lock)

up: install ## start the local stack and stay until Ctrl-C
	@exec $(BIN)/python -m stack.cli up $(ARGS)

demo: install ## run a sample sale from end to end (ARGS=--exit ends by itself)
	@exec $(BIN)/python -m stack.cli demo $(ARGS)

test: install-dev ## pass every test on real servers
	@exec $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(ARGS)

bench: install ## measure the hot path beside its references (ARGS=--quick: small)
	@exec $(BIN)/python -m bench $(ARGS)

faults: install-dev ## kill, freeze, cut off and fill up a real platform under load (ARGS=--long: all of it)
	@exec $(BIN)/python -m tests.faults $(ARGS)

check: install-dev ## format, lint, types, import rules
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

format: install-dev ## let ruff format and repair what it safely can
	$(BIN)/python -m ruff format .
	$(BIN)/python -m ruff check --fix .

screenshots: install-dev ## take the pictures of docs/ from the running pages
	@exec $(BIN)/python -m pytest -n 0 -m screenshots tests/e2e $(ARGS)

clean: ## remove the virtual environment, caches and the local stack's data
	rm -rf $(VENV) data build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# $(call install_lock,name,lock): bring .venv to the lock, or do nothing when its stamp says it is there.
# The stamp holds a hash of the locks and of pyproject.toml, not a time: a fresh clone or a switched branch
# changes times but not contents. What "dev" installs includes what "run" needs, so its stamp serves both.
# uv does it in seconds; where its wheel is not to be had, pip does the same with the same hashes.
define install_lock
set -eu; \
want=$$(cat requirements.lock requirements-dev.lock pyproject.toml | sha256sum | cut -d' ' -f1); \
have=$$(cat $(VENV)/.stamp 2>/dev/null || true); \
if [ "$$have" = "dev $$want" ] || [ "$$have" = "$(1) $$want" ]; then exit 0; fi; \
echo "installing $(2) into $(VENV) …" >&2; \
[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV); \
rm -f $(VENV)/.stamp; \
if $(BIN)/python -m pip install --quiet 'uv==$(UV_VERSION)' \
	&& $(BIN)/python -m uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r $(2); then \
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .; \
else \
	echo 'uv could not do it: installing with pip' >&2; \
	$(BIN)/python -m pip install --quiet --require-hashes -r $(2); \
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .; \
fi; \
echo "$(1) $$want" > $(VENV)/.stamp
endef
