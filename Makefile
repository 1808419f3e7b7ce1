# Two commands do all the set-up: `make quickstart` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup quickstart test test-arm64 test-paper check bench clean

setup: $(STAMP)

# The stamp is written last, so an interrupted installation is done again.
$(STAMP): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1); name another with make PYTHON=..." >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Making $(VENV): several GB and a few minutes, once"; $(PYTHON) -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[workstation,nvml,export,test,check]'
	@touch $@

quickstart: $(STAMP)
	$(BIN)/testbed run experiments/quickstart.yaml

# Three processes for two cores: campaigns wait more than they compute (tests/conftest.py).
test: $(STAMP)
	$(BIN)/python -m pytest -n 3

# An arm64 node with a kernel of its own, emulated (docs/hardware.md). Left out, with the reason, where it cannot be.
test-arm64: $(STAMP)
	$(BIN)/python -m pytest -m arm64 tests/integration/test_arm64.py

# Every experiment of the paper, small (experiments/paper/).
test-paper: $(STAMP)
	$(BIN)/python -m pytest -m paper tests/integration/test_paper.py

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m tests.bench

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
