# The few words a newcomer needs: make demo, make test. Both start from nothing but Python and pip.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# -qq: what pip says of its own settings is not about rtl; errors still show.
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt
# A process for each core; a file's tests share what they set up, so they stay in one process.
# They are handed out in the order of tests/conftest.py, the slow ones first.
PYTEST := $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: help demo test lint types unit quick oldest newest docs docs-check site bench clean

help:
	@echo "make demo        install and walk through everything once (rtl demo)"
	@echo "make test        install and run lint, types and tests with coverage, as CI does"
	@echo "make quick       run the fast tests of every room, between two edits"
	@echo "make oldest      run them with the oldest versions that pyproject.toml promises"
	@echo "make newest      run them with the newest versions of all but torch"
	@echo "make docs        write the generated pages of docs/ again"
	@echo "make docs-check  run the commands that README.md and docs/ show, and docs/python.md"
	@echo "make site        build the site of docs/ into build/site; a broken link fails"
	@echo "make bench       run the suites of benchmarks/"
	@echo "make clean       remove the environment and what the tools left"

# One environment for all; each stamp says what has been installed into it.
$(VENV)/.train: pyproject.toml constraints.txt
	@echo "installing into $(VENV), once; torch is large, so this takes minutes"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) -e ".[cpu,train]"
	@touch $@

$(VENV)/.dev: $(VENV)/.train
	@$(PIP) -e ".[cpu,train,dev]"
	@touch $@

demo: $(VENV)/.train
	@$(BIN)/rtl demo

test: lint types unit

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

# Coverage's settings, and the share below which this fails, stand in pyproject.toml.
unit: $(VENV)/.dev
	$(PYTEST) --cov --cov-report=term

# Tests alone: no lint, no types, no virtual environments, no coverage.
quick: $(VENV)/.dev
	$(PYTEST) -m "not slow and not environment"

# Both make an environment of their own and remove it; make test is not needed before.
oldest:
	$(PYTHON) tests/slow/oldest.py

newest:
	$(PYTHON) tests/slow/oldest.py --newest

docs: $(VENV)/.dev
	$(BIN)/python docs/generate.py

docs-check: $(VENV)/.dev
	$(BIN)/python docs/check.py
	$(BIN)/python docs/check_python.py

# zensical and what it needs lie in a folder of their own: nothing else uses them.
build/zensical/.installed: docs/requirements.txt | $(VENV)/.dev
	@rm -rf build/zensical
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-compile \
		--target build/zensical -r docs/requirements.txt
	@touch $@

site: build/zensical/.installed
	@PYTHONPATH=build/zensical $(BIN)/python docs/build_site.py
	@echo "build/site/index.html; with its search: $(PYTHON) -m http.server -d build/site"

bench: $(VENV)/.dev
	$(BIN)/pytest benchmarks -s --benchmark-only --benchmark-columns=min,median,max,rounds

clean:
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks .coverage* dist build
