# Everything runs in .venv/, made from requirements.lock on first use.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
SERVICE_READY := $(VENV)/.service
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup run remote verify test test-service test-all coverage benchmark lint format lock clean

help: ## print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv/ with the locked dependencies

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is older than Python 3.11; name another: make PYTHON=python3.12" >&2; exit 1; }
	@echo "setting up $(VENV)/, about a minute the first time"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(SERVICE_READY): $(READY) requirements-service.lock
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-service.lock
	@touch $@

run: $(READY) ## run every experiment with dvc repro (SOURCE=official for downloaded data, JOBS=2 for two at a time)
	@if [ -n "$(SOURCE)" ]; then pipeline source "$(SOURCE)"; fi
	@pipeline check-params
	@if [ -n "$(JOBS)" ]; then pipeline repro --jobs "$(JOBS)"; else dvc repro; fi
	@echo
	@dvc metrics show
	@echo
	@echo "Pictures: outputs/*/plots/*.png"
	@echo "Next, after '. $(VENV)/bin/activate':"
	@echo "  dvc exp run -S '++experiments.mnist_two_layer.optimizer.learning_rate=0.2' && dvc metrics diff"
	@echo "  pipeline train experiment=mnist_two_layer optimizer=adam"
	@echo "  make run SOURCE=official"

remote: $(READY) ## keep DVC's outputs at URL too (a folder, s3://bucket/folder); each is checked when pulled
	@test -n "$(URL)" || { echo "where to? make remote URL=/media/storage, or URL=s3://bucket/folder" >&2; exit 1; }
	@dvc remote add --quiet --force --default storage "$(URL)"
	@dvc remote modify storage verify true
	@echo "storage is $(URL), in .dvc/config. Next: dvc push"

verify: $(READY) ## run the last commit from nothing in a clone, compare every output (OPTIONS=--quick)
	@pipeline verify $(OPTIONS)

test: $(READY) ## run the tests (those of a few minutes, and those with servers, aside)
	@python -m pytest -q -n auto -m "not slow and not service"

test-service: $(SERVICE_READY) ## run the tests that need servers: S3, Dask (installs what they need)
	@python -m pytest -q -n auto -m service

test-all: $(SERVICE_READY) ## run all tests
	@python -m pytest -q -n auto

coverage: $(READY) ## run the tests and show which lines they miss
	@python -m pytest -q -n auto -m "not slow and not service" --cov --cov-report=term

benchmark: $(READY) ## measure training beside other libraries, write docs/training_speed.* (see benchmarks/requirements.txt)
	@python benchmarks/training.py

lint: $(READY) ## check style and types
	@ruff check .
	@ruff format --check .
	@mypy
	@mypy --platform win32
	@mypy --platform darwin

format: $(READY) ## put the code into its style
	@ruff check --fix .
	@ruff format .

COMPILE := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" --upgrade
lock: ## resolve the two lock files anew from pyproject.toml (needs uv)
	@$(COMPILE) --extra dev -o requirements.lock
	@$(COMPILE) --extra dev --extra s3 --extra dask --extra optuna --extra service \
	  --constraint requirements.lock -o requirements-service.lock

clean: ## remove the environment and the ad-hoc runs; DVC's outputs and cache stay
	@rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
