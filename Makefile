# make demo: the main job on synthetic walkers, end to end.  make test: all tests.
PYTHON ?= python3.11
BIN := .venv/bin
# the marker is newer than what it was made from, so set-up runs once
READY := .venv/.ready

.PHONY: demo test lint bench clean

demo: $(READY)
	$(BIN)/python demo.py

test: $(READY)
	$(BIN)/python -m pytest -q

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python benchmarks/store.py
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python benchmarks/train_step.py
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/walkers.py

clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis demo

# the constraints name torch by its exact version: a range would pull gigabytes of CUDA libraries
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .[dev]
	touch $(READY)
