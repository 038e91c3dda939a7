# Everything from an empty clone to a trained model: needs Python >= 3.11, git and make, nothing else.

PYTHON ?= python3
ARGS ?= model=wavenet

environment := .venv
python := $(environment)/bin/python
install := $(python) -m pip install --quiet --no-input --disable-pip-version-check
libraries := $(environment)/libraries
ready := $(environment)/ready
audit := build/audit
used := hydra, holidays, lightning.pytorch.loggers, matplotlib.backends.backend_agg, polars, rich.live, torch.utils.tensorboard, torchmetrics

.DEFAULT_GOAL := help
.PHONY: help train test lint types slow bench audit format clean

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

# The quick tests come first, with the arithmetic of a processor that has no AVX-512.
slow: $(ready) ## rerun all recorded experiments, which takes hours, and write docs/results.md
	ONEDNN_MAX_CPU_ISA=AVX2 OMP_NUM_THREADS=1 $(python) -m pytest -n auto --hypothesis-profile=ci
	$(python) -m pytest -m slow

bench: $(ready) ## measure speed against a hand-written training loop
	$(python) -m benchmarks

audit: ## check the locked packages for known vulnerabilities
	@rm -rf $(audit)
	@$(PYTHON) -m venv $(audit)
	@$(audit)/bin/python -m pip install --quiet --no-input --disable-pip-version-check pip-audit==2.10.1 \
		|| { echo "could not audit: pip-audit could not be installed"; exit 2; }
	@sed -nE 's/^([A-Za-z0-9._-]+==[A-Za-z0-9.]+).*/\1/p' requirements.lock requirements-torch.lock > $(audit)/locked
	@$(audit)/bin/pip-audit --progress-spinner off --disable-pip --no-deps -f json -r $(audit)/locked \
		> $(audit)/report 2> $(audit)/log || [ -s $(audit)/report ] || tail -n 1 $(audit)/log
	@$(audit)/bin/python .ci/audit.py $(audit)/locked < $(audit)/report

format: $(ready) ## sort imports and lay out the code
	$(python) -m ruff check --fix .
	$(python) -m ruff format .

clean: ## remove environment and caches; what runs wrote stays
	rm -rf $(environment) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Made anew whenever a lock changes, so that it holds exactly what the locks say. pip would compile all 15,000 modules (20
# seconds, 200 MB); the import at the end writes the byte code of the 3,400 that runs use (9 seconds more than reading it).
# A small training takes 6 to 7 seconds of CPU with it and 11 without, at every start where Python may not write any.
$(libraries): requirements.lock requirements-torch.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: $(PYTHON) is Python %d.%d, which is too old: 3.11 or newer is needed; name one with PYTHON=..." % sys.version_info[:2])'
	@echo "Setting up $(environment), which takes a minute or two ..."
	@$(PYTHON) -m venv --clear $(environment)
	@$(install) --no-compile --require-hashes --no-deps -r requirements.lock
	@$(install) --no-compile -r requirements-torch.lock
	@PYTHONDONTWRITEBYTECODE= $(python) -c "import $(used)"
	@touch $@

# The project itself, read from the checkout: for the command `seqmodels` and the version.
$(ready): $(libraries) pyproject.toml
	@$(install) --no-deps --no-build-isolation --editable .
	@touch $@
