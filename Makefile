# make demo    measure the network inside the package, print where the report lies
# make test    run the tests
# make lint    style and types
# make images  draw the pictures of the README anew, from the demo
# make clean   remove what make made
#
# Needs Python >= 3.11, make and a package index, nothing else.
#   make demo PYTHON=python3.12                  another interpreter
#   make demo VENV_FLAGS=--system-site-packages  use the torch that is already installed
#   make demo CONSTRAINTS=                       newest versions instead of the tested ones

ifndef PYTHON
PYTHON := $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
            $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
            && echo $$p && break; done)
endif
VENV        ?= .venv
VENV_FLAGS  ?=
CONSTRAINTS ?= constraints/py311.txt
OUT         ?= demo
WORKERS     ?= auto

BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PINNED  := $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
SOURCES := pyproject.toml $(CONSTRAINTS)

.PHONY: demo test lint images clean check-python
.DELETE_ON_ERROR:

demo: $(VENV)/.demo
	@$(BIN)/hiddenscape demo --out $(OUT)

# Each worker of the tests gets one thread: two cores are shared by processes, not by BLAS.
test: $(VENV)/.test
	OMP_NUM_THREADS=1 MPLBACKEND=agg $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -q

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

images: demo
	mkdir -p docs/images
	cp $(OUT)/figures/id_profile.png docs/images/demo_dimension.png
	cp $(OUT)/figures/label_overlap.png docs/images/demo_labels.png

clean:
	rm -rf $(VENV) build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

check-python:
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "hiddenscape needs Python 3.11 or newer; none was found$(if $(PYTHON), as $(PYTHON))." >&2; \
	  echo "Install one, then: make $(or $(MAKECMDGOALS),demo) PYTHON=/path/to/python3" >&2; exit 2; }

$(VENV)/.made: | check-python
	@echo "making a virtual environment in $(VENV) with $(PYTHON)" >&2
	@$(PYTHON) -m venv --clear $(VENV_FLAGS) $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.made $(SOURCES)
	@echo "installing hiddenscape (a few minutes the first time)" >&2
	@$(PIP) $(PINNED) -e .
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	@echo "installing what the tests need" >&2
	@$(PIP) $(PINNED) -e '.[dev,hf,images,adapters,datasets,formats]'
	@touch $@
