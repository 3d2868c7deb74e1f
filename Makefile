# One word a habit. Every target sets up what it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: run test check clean

run: $(READY)  ## reproduce the experiment; the report lands in runs/dd2424-a1
	$(BIN)/onelayer reproduce dd2424-a1 --out runs/dd2424-a1 --force

test: $(READY)  ## all tests; those on real CIFAR-10 run when it can be had
	$(BIN)/pytest

check: $(READY)  ## lint, types, layers
	$(BIN)/ruff format --check src tests
	$(BIN)/ruff check src tests
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:  ## what the targets above made, except the downloaded data
	rm -rf .venv runs .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

KERNEL := setup.py $(wildcard src/onelayer/training/kernel/*)

$(READY): pyproject.toml $(KERNEL)
	@$(PYTHON) -c 'import sys; sys.exit("onelayer needs Python 3.11 or newer; name one: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@rm -f src/onelayer/training/_kernel*  # a build that fails must not leave the last one in place
	@echo "setting up .venv, a minute or two"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(READY)
