# One word a habit. Every target sets up what it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

MODELS ?= 1 4 20 100
ROUNDS ?= 9
CASES ?= 100000
SEED ?= 0
KILLS ?= 60
RESUMES ?= 200

# The tests start hundreds of Pythons: what they compile is kept.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-anywhere test-slow test-kill test-torch test-classroom test-otter test-browser fuzz doctor check docs example bench bench-compare bench-gpu bench-probe clean

run: $(READY)  ## reproduce the experiment; the report lands in runs/dd2424-a1
	$(BIN)/onelayer reproduce dd2424-a1 --out runs/dd2424-a1 --force

# As many tests at a time as there are cores, so a thread for each: threads that wait spin.
test: export OMP_NUM_THREADS = 1
test: export OPENBLAS_NUM_THREADS = 1
test: $(READY)  ## all tests; those on real CIFAR-10 run when it can be had
	$(BIN)/pytest --numprocesses auto --dist worksteal

test-anywhere: $(READY)  ## a fast part of the tests again, as other machines would run it
	$(BIN)/python tests/anywhere.py

test-slow: $(READY)  ## training on more data than memory, reports of many classes; needs 4 GB of disk
	$(BIN)/pytest -m slow

test-kill: $(READY)  ## 60 kills of train --force and reproduce --force, 200 of a training that then resumes, and at every step and system call of a write
	$(BIN)/pytest -m kill --numprocesses auto
	$(BIN)/python tests/killed_runs.py --kills $(KILLS) --seed $(SEED)
	$(BIN)/python tests/killed_trainings.py $(RESUMES) $(SEED)
	$(BIN)/python tests/killed_syscalls.py

test-browser: .venv/.browser  ## the explorable page and the report in Chromium, which is installed where that is allowed
	@command -v chromium chromium-browser google-chrome > /dev/null || { apt-get update --quiet && apt-get install --yes --quiet chromium; } \
		|| echo "no Chromium, so its tests are skipped: apt install chromium" >&2
	$(BIN)/pytest -m browser --numprocesses auto

test-torch: .venv/.torch  ## the engine on PyTorch; losses, steps and schedules against PyTorch's
	$(BIN)/pytest -m torch

test-classroom: $(READY)  ## a class of submissions graded, and the scripts of autograders run
	$(BIN)/pytest -m classroom

test-otter: .venv/.otter  ## test files that otter-grader runs
	$(BIN)/pytest -m otter

fuzz: $(READY)  ## 100,000 damaged files of every format, 5,000 edited records: they open or say why not
	$(BIN)/python tests/fuzz_readers.py --cases $(CASES) --first $(SEED)
	$(BIN)/python tests/fuzz_records.py --cases $$(($(CASES) / 20)) --first $(SEED)

doctor: $(READY)  ## wrong gradients: what usual checks catch, what onelayer doctor names
	$(BIN)/python tests/doctor_table.py
	$(BIN)/pytest tests/test_doctor.py -m slow --quiet

check: $(READY)  ## lint, types, layers
	$(BIN)/ruff format --check src tests benchmarks examples docs/conf.py
	$(BIN)/ruff check src tests benchmarks examples docs/conf.py
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/.docs  ## the site, in docs/_build/html; a broken link or reference fails
	$(BIN)/sphinx-build -M html docs docs/_build --fail-on-warning --keep-going --fresh-env --quiet

example: .venv/.example  ## probe the layers of a pretrained network, then compare with scikit-learn
	$(BIN)/python examples/probe_cnn_features/extract.py runs/features
	$(BIN)/onelayer probe runs/features/*.npz --fractions 0.01,0.1 --control --out runs/probe --force
	$(BIN)/python examples/probe_cnn_features/compare.py runs/features

bench: .venv/.bench  ## ours against the peers; results in benchmarks/results
	$(BIN)/python -m benchmarks --models $(MODELS) --rounds $(ROUNDS)

bench-compare: .venv/.bench  ## BASE=rev: fails if an epoch became slower than in that revision
	@test -n "$(BASE)" || { echo "name a revision: make bench-compare BASE=main" >&2; exit 2; }
	$(BIN)/python -m benchmarks.compare $(BASE)

bench-gpu: .venv/.torch  ## linear probes on one GPU against what people write, in minutes; needs an NVIDIA GPU
	$(BIN)/python -m benchmarks.gpu

bench-probe: .venv/.bench  ## the exact solver against LogisticRegression, at equal costs
	$(BIN)/python -m benchmarks.solver --rounds $(ROUNDS)

clean:  ## what the targets above made, except the downloaded data
	rm -rf .venv runs/dd2424-a1 docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

KERNEL := setup.py $(wildcard src/onelayer/training/kernel/*)

$(READY): pyproject.toml $(KERNEL)
	@$(PYTHON) -c 'import sys; sys.exit("onelayer needs Python 3.11 or newer; name one: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@rm -f src/onelayer/training/_kernel*  # a build that fails must not leave the last one in place
	@echo "setting up .venv, a minute or two"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(READY)

.venv/.torch .venv/.otter .venv/.bench .venv/.browser .venv/.docs .venv/.example: .venv/.%: $(READY)
	@echo "installing the extra: $*"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@
