# grownet: two commands do everything, `make demo` and `make test`.
SHELL := bash
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.locked
unexport PYTHONDONTWRITEBYTECODE
export DO_NOT_TRACK := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"grownet needs Python 3.11 to 3.13, got {v.major}.{v.minor}: set PYTHON=/path/to/python3.12")'
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked dependencies into $(VENV) (once, a few minutes)"
	@$(RUN) -m pip install -q --no-deps --require-hashes -r requirements.lock
	@$(RUN) -m pip install -q --no-deps --no-build-isolation -e .
	@$(RUN) -m compileall -q -j 2 $(VENV)/lib >/dev/null 2>&1 || true
	@touch $@

setup: $(STAMP)  ## virtual environment with the locked, hashed dependencies

demo: setup  ## the main job on real data, with a report at the end (DEMO="--keep" leaves it running)
	@$(VENV)/bin/grownet demo $(DEMO)

test: setup  ## all checks, and every test but the slow ones (under ten minutes on two cores)
	@$(MAKE) --no-print-directory check
	@$(RUN) -m pytest -n 3 --dist loadfile -q -m "not browser and not slow" $(TESTS)

slow: setup  ## the tests that take a whole stack for minutes
	@$(RUN) -m pytest -q -m slow $(TESTS)

check: setup  ## lint, format, types and import contracts: what CI runs first
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

browser: setup  ## the approval form in a real browser (needs Chromium)
	@$(RUN) -m pytest -m browser $(TESTS)

up: setup  ## the whole stack in the foreground
	@$(VENV)/bin/grownet up

format: setup  ## format the code
	@$(VENV)/bin/ruff check --fix -q . ; $(VENV)/bin/ruff format -q .

clean:  ## remove the environment and all state of the demo
	rm -rf $(VENV) .grownet build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

.PHONY: help setup demo test slow check browser up format clean
.DEFAULT_GOAL := help
