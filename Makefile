# Everything from an empty clone to a trained model: needs Python >= 3.11, git and make, nothing else.

PYTHON ?= python3
ARGS ?= model=wavenet

environment := .venv
python := $(environment)/bin/python
ready := $(environment)/ready

.DEFAULT_GOAL := help
.PHONY: help train test lint types slow bench format clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

train: $(ready) ## train a model on generated waves; others with ARGS="model=lstm data.horizon=14"
	$(python) train.py $(ARGS)

# One thread per worker: workers that each start a thread per core slow each other down.
# The profile draws the same examples on every machine and sets no time limit per example.
test: lint types $(ready) ## lint, types, then all quick tests
	OMP_NUM_THREADS=1 $(python) -m pytest -n auto --hypothesis-profile=ci

lint: $(ready) ## check style and imports
	$(python) -m ruff check .

types: $(ready) ## check type annotations
	$(python) -m mypy

slow: $(ready) ## rerun all recorded experiments, which takes hours, and write docs/results.md
	$(python) -m pytest -m slow

bench: $(ready) ## measure speed against a hand-written training loop
	$(python) -m benchmarks

format: $(ready) ## sort imports and lay out the code
	$(python) -m ruff check --fix .
	$(python) -m ruff format .

clean: ## remove environment and caches; what runs wrote stays
	rm -rf $(environment) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Made anew whenever the lock changes, so that it holds exactly what the lock says. The project itself
# is not installed: commands run from the checkout. Without --no-compile it takes twice as long.
$(ready): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: $(PYTHON) is Python %d.%d, which is too old: 3.11 or newer is needed; name one with PYTHON=..." % sys.version_info[:2])'
	@echo "Setting up $(environment), which takes a minute or two ..."
	@$(PYTHON) -m venv --clear $(environment)
	@$(python) -m pip install --quiet --no-compile --no-input --disable-pip-version-check -r requirements.lock
	@touch $@
