# Everything here works on a fresh machine with Python 3.11 or newer and make: it makes its own .venv, needs no root and,
# once the packages are installed, no network.
#
#   make run [DIR=path] [STAY=1]   the main job over the Python files of DIR; STAY=1 keeps the stack up until Ctrl-C,
#                                  FORMAT=json or markdown prints the whole report
#   make test                      the tests
#   make test-slow                 the tests left out by `make test`
#   make test-peers                the tests against the real Session-Buddy and Akosha (installs them; needs Python 3.13)
#   make test-kubernetes           the tests in the cluster that KUBECONFIG names (MAHAVISHNU_TEST_NAMESPACE, default: default)
#   make chaos                     2,000 tasks under 50 faults; TASKS, FAULTS and SEED change that
#   make lint                      style, types, allowed imports
#   make bench                     the measurements behind the figures in the README
#   make bench-peers               the same tasks by other task queues (installs them into an environment of their own)

DIR ?= .
STAY ?=
FORMAT ?=
PYTHONS ?= python3 python3.13 python3.12 python3.11 python

VENV := .venv
PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

# A PYTHONPATH or PYTHONHOME of the user's other projects has no business in this environment. Without compiled files
# each of the many processes that tests start would compile every module again.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := run
.PHONY: run test test-slow test-peers test-kubernetes chaos lint bench bench-peers

run: $(INSTALLED)
	@$(PYTHON) -m mahavishnu_pools.demo "$(DIR)" $(if $(filter 1 yes true on,$(STAY)),--stay) $(if $(FORMAT),--format "$(FORMAT)")

# Modules of tests run side by side, in the order of tests/conftest.py; JOBS=0 runs them one after another in this process.
JOBS ?= 4

test: $(INSTALLED)
	@$(PYTHON) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

test-slow: $(INSTALLED)
	@$(PYTHON) -m pytest -m slow

test-kubernetes: $(INSTALLED)
	@$(PYTHON) -m pytest -m kubernetes_real -rs

PEERS := .peers
PEER_PYTHON ?= python3.13

test-peers: $(INSTALLED) $(PEERS)/session-buddy/.installed $(PEERS)/akosha/.installed
	@$(PYTHON) -m pytest -m peers_real

$(PEERS)/session-buddy/.installed: PACKAGES := session-buddy==0.23.0 duckdb==1.5.5
$(PEERS)/akosha/.installed: PACKAGES := --pre akosha==0.11.0
$(PEERS)/%/.installed:
	@echo "Installing $(PACKAGES) into $(@D) …" >&2
	@$(PEER_PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(PACKAGES)
	@touch $@

TASKS ?= 2000
FAULTS ?= 50
SEED ?=

chaos: $(INSTALLED)
	@$(PYTHON) -m tests.chaos --tasks $(TASKS) --faults $(FAULTS) $(if $(SEED),--seed $(SEED))

lint: $(INSTALLED)
	@failed=0; \
	$(PYTHON) -m ruff check . || failed=1; \
	$(PYTHON) -m ruff format --check . || failed=1; \
	$(PYTHON) -m mypy mahavishnu_pools workers $(wildcard celeryconfig.py benchmarks) || failed=1; \
	$(VENV)/bin/lint-imports || failed=1; \
	exit $$failed

bench: $(INSTALLED)
	@$(PYTHON) -m benchmarks

bench-peers:
	@$(MAKE) --no-print-directory VENV=$(VENV)-peers $(VENV)-peers/bin/python
	@$(VENV)-peers/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@$(VENV)-peers/bin/python -m benchmarks drain

$(INSTALLED): pyproject.toml | $(PYTHON)
	@echo "Installing the packages into $(VENV) …" >&2
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable '.[dev,mcp]'
	@touch $@

# A program may stand on PATH and not run (pyenv's shims), be too old, or lack venv and ensurepip (Debian splits them off).
NEW_ENOUGH := import sys; assert sys.version_info >= (3, 11)
COMPLETE := import sys, venv, ensurepip; assert sys.version_info >= (3, 11)

$(PYTHON):
	@for python in $(PYTHONS); do \
	  if $$python -c '$(COMPLETE)' >/dev/null 2>&1; then exec $$python -m venv --clear $(VENV); fi; \
	done; \
	for python in $(PYTHONS); do \
	  path=$$($$python -c '$(NEW_ENOUGH); print(sys.executable)' 2>/dev/null) || continue; \
	  if virtualenv --version >/dev/null 2>&1; then exec virtualenv --quiet --clear --python "$$path" $(VENV); fi; \
	  if $$python -m virtualenv --version >/dev/null 2>&1; then exec $$python -m virtualenv --quiet --clear $(VENV); fi; \
	  version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	  echo "$$path cannot make virtual environments. Install the package python$$version-venv" \
	    "(Debian, Ubuntu: apt-get install python$$version-venv) or virtualenv, then try again." >&2; \
	  exit 1; \
	done; \
	echo "No Python 3.11 or newer was found (tried: $(PYTHONS)). Install the package python3 and, on Debian or Ubuntu," \
	  "python3-venv, or name one: make PYTHONS=/path/to/python3.12" >&2; \
	exit 1
