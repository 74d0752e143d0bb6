# Two commands for a newcomer: `make demo` and `make test`. Each sets up what it needs, and is silent
# when that is there. All that the demo writes is under .rampway/.

PYTHON ?= python3
HOME_DIR := .rampway
VENV := $(HOME_DIR)/venv
BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CACHE_DIR=$(CURDIR)/$(HOME_DIR)/pip-cache $(BIN)/python -m pip install --quiet
COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-emit-trusted-host --strip-extras --allow-unsafe --no-header --extra demo
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(HOME_DIR)/pycache
CODE := rampway workflows activities workers clients tests benchmarks deploy

.DEFAULT_GOAL := help
.PHONY: help demo demo-prometheus lab test check lint types contracts unit wheel bench mutants fuzz soak dashboards lock clean

help:  ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 20

demo: $(VENV)/.demo  ## Set up, then ship a good model, refuse a worse one, roll a harmful one back
	@$(BIN)/rampway --home $(HOME_DIR)/demo demo

demo-prometheus: $(VENV)/.demo  ## The same with two gateway processes and evidence through Prometheus
	@$(BIN)/rampway --home $(HOME_DIR)/demo-prometheus demo --evidence prometheus

lab: $(VENV)/.demo  ## Play 400 requests of shadow and A/B, then report on their log
	@$(BIN)/rampway --home $(HOME_DIR) lab

test: check wheel  ## Everything CI runs: check, then the built wheel in a fresh environment

check: lint types contracts unit  ## Format, lint, types, import contracts, tests

lint: $(VENV)/.dev
	@$(BIN)/ruff format --check --quiet $(CODE)
	@$(BIN)/ruff check --quiet $(CODE)

types: $(VENV)/.dev
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/pyright --pythonpath $(BIN)/python > $(HOME_DIR)/pyright.log || { cat $(HOME_DIR)/pyright.log; exit 1; }

contracts: $(VENV)/.dev
	@$(BIN)/lint-imports > $(HOME_DIR)/contracts.log || { cat $(HOME_DIR)/contracts.log; exit 1; }

unit: $(VENV)/.dev
	@$(BIN)/pytest -q -n 2 --dist loadgroup

wheel: $(VENV)/.dev  ## Build the wheel, install it in a fresh environment, run doctor and the demo there
	@sh tests/wheel.sh $(BIN)/python $(HOME_DIR)/wheel

bench: $(VENV)/.dev  ## Speed, as ratios measured side by side in one run
	@$(BIN)/python -m benchmarks

mutants: $(VENV)/.dev  ## Change the gates one operator at a time: the tests have to notice (hours)
	@$(BIN)/python tests/mutation

fuzz: $(VENV)/.dev  ## A million random tables through every gate: no NaN, no PASS on invalid input
	@$(BIN)/python -m tests.fuzz_gates 1000000

soak: $(VENV)/.dev  ## Slow tests: many demos in a row, kills at every point
	@$(BIN)/pytest -q -m slow

dashboards: $(VENV)/.dev  ## Write the Grafana dashboards anew
	@$(BIN)/python -m deploy.grafana

lock: $(VENV)/.dev  ## Write the hash-pinned locks anew
	@$(COMPILE) --upgrade -o requirements/demo.txt pyproject.toml requirements/demo.in
	@$(COMPILE) --upgrade -o requirements/dev.txt pyproject.toml requirements/dev.in

clean:  ## Remove all that was set up or written
	@rm -rf $(HOME_DIR) dist

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Rampway needs Python 3.11 or newer; set PYTHON=")'
	@mkdir -p $(HOME_DIR)
	@$(PYTHON) -m venv $(VENV) || { echo "The venv module is missing (Debian: apt-get install python3-venv)"; exit 1; }
	@touch $@

$(VENV)/.demo: requirements/demo.txt pyproject.toml | $(VENV)/.made
	@echo "Setting up in $(VENV): about a minute, once."
	@$(PIP) --require-hashes -r requirements/demo.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.demo
	@echo "Adding the developers' tools to $(VENV)."
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@
