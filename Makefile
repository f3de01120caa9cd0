# Everything a person or a developer does here, each by one word.
VENV := .venv
PY := $(VENV)/bin/python
PYTHON ?= python3
PYTEST_ARGS ?=

.PHONY: run test check coverage lock bench nightly faults defects clean

run: $(VENV)/.run
	$(VENV)/bin/broker

test: $(VENV)/.test
	$(PY) -m pytest -n 2 $(PYTEST_ARGS)

check: $(VENV)/.lint
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(PY) -m broker.migrations.revise check

# Every branch of policies/ is taken by its own tests.
coverage: $(VENV)/.test
	PROFFER_EXAMPLES=200 $(PY) -m pytest -q tests/policies --ignore tests/policies/test_planted.py --cov=policies --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=100 --no-header

bench: $(VENV)/.test
	$(PY) -m tests.bench $(BENCH_ARGS)

nightly: $(VENV)/.test
	$(PY) -m pytest -n 2 --deep $(PYTEST_ARGS)

# TIER is commit or nightly: how often each fault is tried.
TIER ?= commit
faults: $(VENV)/.test
	$(PY) -m pytest -n 2 tests/faults $(if $(filter nightly,$(TIER)),--deep) $(PYTEST_ARGS)

# Plants each defect of tests/faults/defects in a copy, and sees that a test notices.
defects: $(VENV)/.test
	$(PY) -m tests.faults.planted $(DEFECTS)

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(PY) -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.test: requirements-test.lock $(VENV)/.run
	$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements-test.lock
	touch $@

$(VENV)/.lint: requirements-lint.lock $(VENV)/.test
	$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements-lint.lock
	touch $@

# Needs uv. Names versions and hashes, and no host.
lock:
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-strip-extras pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-strip-extras -c requirements.lock --group test -o requirements-test.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-strip-extras -c requirements.lock --group lint -o requirements-lint.lock

clean:
	rm -rf $(VENV)
