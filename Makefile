# The same few words as everywhere: demo, up, test, check, fmt. `make demo` is the place to start.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# One test process more than there are cores, three at least and nine at most, for those at a running service mostly wait; one
# thread in each, for more would wait for one another. Each takes about 1.5 GB: TEST_PROCESSES=2 does with less.
# Compiled modules are kept whatever the environment says: else each of some hundred processes that tests start compiles ours.
# Files, and groups of them that share fixtures, go to the processes as they become free, the longest groups first (tests/conftest.py).
TEST_PROCESSES ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); \
  [ $$n -lt 2 ] && n=2; [ $$n -gt 8 ] && n=8; echo $$((n + 1)))
TESTS := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist loadgroup --no-loadscope-reorder

.PHONY: demo up test test-all check fmt bench install clean

demo: install          ## enrol a gallery, recognise photos through the real service, write pictures to var/demo
	@$(BIN)/shitu demo

up: install            ## the whole stack in one terminal; data in var/
	@$(BIN)/shitu up

test: install          ## the tests, on a real embedded Redis and real Celery workers
	@$(TESTS) -m "not slow"

test-all: install      ## the same with the slow ones
	@$(TESTS)

check: install         ## format, lint, types, import rule; known advisories where a network allows
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@.ci/audit $(BIN)/python

fmt: install           ## format and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: install         ## speed on this machine, next to peers, floors and targets; BENCH="--quick" takes a few minutes
	@$(BIN)/python -m benchmarks.stages
	@$(BIN)/python -m benchmarks.speed $(BENCH)

install: $(VENV)/installed

$(VENV)/installed: requirements/all.txt pyproject.toml
	@echo "Installing the locked packages into $(VENV) (about two gigabytes the first time; some minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --no-input -r requirements/all.txt
	@$(BIN)/python -m pip install --quiet --no-input --no-deps --no-build-isolation --config-settings editable_mode=compat \
	  --editable .
	@touch $@

clean:                 ## forget the environment and everything made (not var/)
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
