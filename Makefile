# Everything a person or a CI runs. `make help` lists the targets.
SHELL := /bin/sh
PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
# Absolute and private: DVC resolves a relative one against the current folder, and its default is shared by all users.
export DVC_SITE_CACHE_DIR := $(CURDIR)/.dvc/site-cache
export DVC_NO_ANALYTICS := 1
# Every stage is a process of its own, which would compile the library anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help repro test coverage soak lint bench lock

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

repro: .venv/.ready ## build the active experiments and publish their tables and page
	@$(BIN)/facets rebuild

test: .venv/.ready ## run the test suite (about 15 minutes on 2 cores)
	@$(BIN)/python -m pytest -n 3 --dist loadgroup

coverage: .venv/.ready ## run the test suite and say which lines it leaves out; that takes a quarter longer
	@$(BIN)/python -m pytest -n 3 --dist loadgroup --cov --cov-report=term:skip-covered

soak: .venv/.ready ## run the long tests: kills, full disks, a simulated month; results in benchmarks/results/
	@$(BIN)/python -m pytest -m soak --timeout=0

lint: .venv/.ready ## check format, style, types, layers, and the lock against known advisories
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports
	@$(BIN)/python -m tests.audit

bench: .venv/.ready ## measure every step against its floor; results in benchmarks/results/
	@$(BIN)/python -m benchmarks

lock: .venv/.ready ## resolve pyproject.toml anew into requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --all-extras --group dev --python-version 3.11 \
	  --no-header --no-emit-index-url --no-emit-find-links --output-file requirements.lock pyproject.toml

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, but $(PYTHON) is older or missing; run make PYTHON=/path/to/python3"; exit 1; }
	@test -x $(BIN)/python || { $(PYTHON) -m venv --clear .venv && echo 'relocatable = true' >> .venv/pyvenv.cfg; }
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@echo "installing requirements.lock into .venv"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --reinstall-package facet-pipeline --editable .
	@echo "$(CURDIR)" > $@

# An environment notes where it was made. In a repository that was moved or copied since, it is made to fit: the commands
# in it find their python wherever they are (uv writes them so where pyvenv.cfg says relocatable), the library is not.
ifneq ($(filter-out $(CURDIR),$(shell cat .venv/.ready 2>/dev/null)),)
.venv/.ready: moved
.PHONY: moved
moved:
	@echo "the environment was made in another place"
	@grep -qs relocatable .venv/pyvenv.cfg || rm -rf .venv
endif
