# make demo: the main job on synthetic walkers, end to end.  make test: all tests.
# make docs: the documentation site, site/index.html.
PYTHON ?= python3.11
BIN := .venv/bin
# the marker is newer than what it was made from, so set-up runs once
READY := .venv/.ready

.PHONY: demo test lint docs bench clean

CONFIGS := $(foreach name,casia_b casia_b_pk demo,--config configs/gaitgraph2/$(name).yaml)

demo: $(READY)
	rm -rf demo/run
	$(BIN)/gaitbench synthesize casia-b demo --subjects 30 --seed 0
	$(BIN)/python gait_casia_b.py fit $(CONFIGS)
	$(BIN)/python gait_casia_b.py test $(CONFIGS) --ckpt_path demo/run/checkpoints/last.ckpt
	$(BIN)/gaitbench animate casia-b demo --cache demo/cache --out demo/walkers.gif \
		--walks 001-nm-01-000 001-nm-01-090 075-cl-01-054 075-bg-01-090
	@echo "Look at demo/run/tables/casia_b.cross_view.png and demo/walkers.gif"

test: $(READY)
	$(BIN)/python -m pytest -q -n auto --dist loadfile --no-loadscope-reorder

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# the variable silences the theme's advertisement of its successor
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "Look at site/index.html"

bench: $(READY)
	$(BIN)/python benchmarks/store.py --folder data/benchmark
	$(BIN)/python benchmarks/oumvlp_tree.py
	$(BIN)/python benchmarks/annotated.py
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python benchmarks/loader.py --family gaitformer
	$(BIN)/python benchmarks/gaitformer.py
	$(BIN)/python benchmarks/sgela.py --plain
	$(BIN)/python benchmarks/gaitcopy.py
	for batch in 128 768; do for threads in 1 2; do for plain in "" --plain; do \
		$(BIN)/python benchmarks/train_step.py --mode 1x15 --batch $$batch --threads $$threads $$plain; \
	done; done; done
	$(BIN)/python benchmarks/evaluation.py --size casia_b
	$(BIN)/python benchmarks/evaluation.py --size large --parts retrieval
	$(BIN)/python benchmarks/walkers.py

clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis demo site

# the constraints name torch by its exact version: a range would pull gigabytes of CUDA libraries
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .[dev]
	touch $(READY)
