# make demo   sets up, runs the main job end to end and explains itself; JSON=1 also writes build/demo.json
# make test   sets up, runs everything: test-fast, then test-system, then test-arm64
# make nightly  what takes too long for that (docs/testing.md)
# make bench  sets up, also the peers, measures, and writes build/bench.json
PYTHON := .venv/bin/python
.PHONY: demo bench test test-fast test-system test-arm64 nightly unit setup lint lock clean

demo:
	@packaging/setup demo
	@$(PYTHON) -m tests.demo $(if $(JSON),--json build/demo.json)

test: test-fast test-system test-arm64

bench:
	@packaging/setup bench
	@$(PYTHON) -m tests.bench

setup:
	@packaging/setup test

# Each part has a budget in seconds and fails when it is over it: a slow test suite is a suite that nobody runs.
test-fast: setup
	@$(PYTHON) tests/budget.py 180 $(MAKE) --no-print-directory lint unit

test-system: setup
	@$(PYTHON) tests/budget.py 1080 $(PYTHON) -m pytest -q $(wildcard tests/conformance) tests/system \
		--ignore=tests/system/arm64

# What the board boots from comes from the network, once per version: that is no test's time.
test-arm64: setup
	@PYTHONPATH=packaging $(PYTHON) -m tests.site.arm64_files
	@$(PYTHON) tests/budget.py 600 $(PYTHON) -m pytest -q tests/system/arm64

nightly: setup
	$(PYTHON) -m pytest -q tests/nightly

unit:
	$(PYTHON) -m pytest -q tests/unit

lint:
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports --no-cache
	.venv/bin/mypy

# Newer versions of the locked packages: needs uv (pip install uv).
lock:
	uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11 \
		--extra agent --extra cloud --extra dev pyproject.toml -o packaging/requirements.txt

clean:
	rm -rf build .venv .mypy_cache .ruff_cache .hypothesis
