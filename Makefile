# `make help` lists what there is. PYTHON, SINK, SEED, ROUNDS and JOBS can be set on the command line.
PYTHON ?= python3
SINK ?= sqlite
SEED ?=
ROUNDS ?= 50
JOBS ?= 2
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test unit soak soak-recovery connect mutants lint docs bench clean

##@ Start here
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup ## Kill a streaming job over and over, and count its rows (SINK=sqlite | postgres | kafka)
	@sh tools/java.sh
	@PYTHONPATH=. $(RUN) examples/demo/run.py --sink $(SINK) $(if $(SEED),--seed $(SEED))

test: setup ## Run every test, against real databases
	@sh tools/java.sh
	@sh tools/mariadb.sh
	@sh tools/pgbouncer.sh
	@$(RUN) -m pytest -n 3 --dist worksteal --durations=20 $(ARGS)

##@ Work on it
setup: $(READY) ## Make .venv with the locked versions

unit: setup ## Run the tests that need neither Spark nor a database
	@$(RUN) -m pytest tests/unit $(ARGS)

soak: setup ## Kill drivers that write to every place, at ROUNDS seeded moments (SEED repeats a run)
	@sh tools/java.sh
	@sh tools/mariadb.sh
	@$(RUN) -m tests.acceptance.soak --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED))

soak-recovery: setup ## Kill, lose and roll back checkpoints in ROUNDS seeded rounds, with the sink's repair before each
	@sh tools/java.sh
	@sh tools/mariadb.sh
	@$(RUN) -m tests.acceptance.recovery_soak --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

connect: setup ## Run the whole contract on Spark Connect
	@sh tools/java.sh
	@sh tools/mariadb.sh
	@$(RUN) -m pytest tests/connect $(ARGS)

mutants: setup ## Break each guarantee by hand, JOBS at a time, and see its tests fail (NAMES picks some)
	@sh tools/java.sh
	@sh tools/mariadb.sh
	@$(RUN) -m tests.mutation --jobs $(JOBS) $(NAMES)

lint: setup ## Check style and types
	@$(RUN) -m ruff check . && $(RUN) -m ruff format --check . && $(RUN) -m mypy

docs: setup ## Build the site, strictly, into build/site (ARGS="serve" shows it on http://127.0.0.1:8000)
	@$(RUN) tools/modules.py && $(RUN) tools/promises.py
	@$(RUN) -m zensical $(or $(ARGS),build --strict --clean)

bench: setup ## Measure against what people write today (ARGS="append merge --rounds 3 --save")
	@sh tools/java.sh
	@sh tools/mariadb.sh
	@$(RUN) -m bench $(ARGS)

clean: ## Remove .venv and everything built
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "foreachonce needs Python 3.10 or later; set PYTHON=" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv" >&2; exit 1; }
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $(READY)
