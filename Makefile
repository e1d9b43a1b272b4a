# Each line also works typed by hand, from the root of the repository.
.DEFAULT_GOAL := help
.PHONY: help install run demo migrate test lint types contract unit fmt bench restore-drill pictures runbook

# Every branch of these is tested; `make test` fails below 100 %. Measuring slows a test by half, so
# only the tests that this is asked of are measured.
GATED := payments/ledger/*,payments/events/*,payments/checkout/*,payments/webhooks/*,payments/api/idempotency.py
MEASURED := tests/ledger tests/events tests/checkout tests/webhooks tests/customers/test_sessions.py \
	tests/api/test_idempotency.py tests/api/test_metrics.py

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# A stamp is written after the whole installation, so an interrupted one is done again.
.venv/bin/python:
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	python3 -m venv .venv || { rm -rf .venv; exit 1; }

.venv/run.stamp: requirements.txt | .venv/bin/python
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/dev.stamp: requirements.txt requirements-dev.txt | .venv/run.stamp
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

install: .venv/dev.stamp ## build .venv with everything, for tests and demo as well

run: .venv/run.stamp ## migrate and serve on PORT (8080), in the foreground
	@.venv/bin/python scripts/run.py

demo: .venv/dev.stamp ## in a second terminal: a true run over HTTP, narrated
	@.venv/bin/python scripts/demo.py

migrate: .venv/run.stamp ## bring the database up to the newest migration
	.venv/bin/python scripts/migrate.py

test: .venv/dev.stamp ## all that CI runs: lint, types, contract, tests on both databases, coverage
	ops/dev/servers.sh
	$(MAKE) --no-print-directory lint types contract
	.venv/bin/python -m pytest -n auto --dist worksteal --cov --cov-report= $(MEASURED)
	.venv/bin/coverage report --include='$(GATED)' --fail-under=100
	.venv/bin/python -m pytest -n auto --dist worksteal $(MEASURED:%=--ignore=%)

lint: .venv/dev.stamp ## style: ruff
	.venv/bin/ruff check
	.venv/bin/ruff format --check

types: .venv/dev.stamp ## types: mypy
	.venv/bin/mypy

contract: .venv/dev.stamp ## which room may import which: import-linter
	.venv/bin/lint-imports

unit: .venv/dev.stamp ## the fast inner loop: no real processes, stops at the first failure
	.venv/bin/python -m pytest -x -q -m 'not slow'

fmt: .venv/dev.stamp ## put the code in its format
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

bench: .venv/dev.stamp ## speed as ratios to plain baselines, into bench.json
	.venv/bin/python scripts/bench.py

pictures: .venv/dev.stamp ## draw the dashboards from a live Prometheus, under some minutes of load
	ops/dev/servers.sh
	.venv/bin/python scripts/pictures.py

restore-drill: .venv/dev.stamp ## back up under load, destroy both stores, restore, compare, time it
	ops/dev/servers.sh
	.venv/bin/python scripts/restore_drill.py

runbook: .venv/dev.stamp ## show every alert live, and write into the runbook how long each took
	ops/dev/servers.sh
	.venv/bin/python scripts/runbook.py
