# `make demo` and `make test` need only Python 3.11+ and make. PYTHON=python3.12 chooses another interpreter.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# ONNX Runtime for the CPU or for CUDA. RUNTIME=cpu saves 284 MB where there is no NVIDIA GPU.
RUNTIME ?= $(shell command -v nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)
STAMP := $(VENV)/.installed-$(RUNTIME)
# Compiled modules are kept, whatever the shell says: hundreds of processes of the tests import the same ones.
export PYTHONDONTWRITEBYTECODE :=
# One thread a worker: the small models of the tests gain nothing from more. Three workers keep two cores busy, because
# many tests wait for a process or a clock.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
PARALLEL := -n 3 --dist loadfile

# The tests read Triton's own description of its configurations in it. What it asks for is older than what we pin, and
# that one file needs none of it.
TRITONCLIENT := tritonclient==2.73.0

MINUTES ?= 10
SEED ?= 0

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-gpu fuzz kill lint format docs bench clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## Make .venv with the package and everything for development

$(STAMP): pyproject.toml constraints.txt
	@ls $(VENV)/.installed-* >/dev/null 2>&1 && ! test -e $@ && { \
		echo "error: $(VENV) holds the other ONNX Runtime; remove the folder, or give RUNTIME=" >&2; exit 2; } || true
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than Python 3.11; name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,$(RUNTIME)]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(TRITONCLIENT)
	@touch $@

demo: install  ## Train, export, compile, verify and sample on the embedded faces (minutes on a CPU)
	$(BIN)/glow-deploy demo --out demo-out --force

test: install  ## Run the tests that need no GPU (minutes)
	$(PYTEST) $(PARALLEL) -m "not slow and not gpu"

test-slow: install  ## Run the tests of over ten seconds each
	$(PYTEST) $(PARALLEL) --no-loadscope-reorder -m "slow and not gpu"

test-gpu: install  ## Run the invertibility regression suite on an NVIDIA GPU
	$(BIN)/python -m pytest -m gpu tests/gpu tests/test_readme.py

fuzz: install  ## Feed damaged files to everything that reads files; MINUTES=60 for longer, SEED=1 for others
	nice $(BIN)/python tests/fuzz/run.py --minutes $(MINUTES) --seed $(SEED)

kill: install  ## Kill every command that writes, 200 times at random instants, and look at what is left
	$(BIN)/python scripts/kill.py --kills 200

lint: install  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install  ## Put the code into the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install  ## Build the docs into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir site

bench: install  ## Measure every claim of docs/measured.md
	@for script in benchmarks/*.py; do \
		case $$script in */_*) continue;; esac; \
		echo "== $$script"; $(BIN)/python $$script || exit 1; \
	done

clean:  ## Remove what the tools left behind, .venv excepted
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis demo-out site
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +
