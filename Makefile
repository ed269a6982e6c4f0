PYTHON ?= python3
BIN := .venv/bin
DEMO_OUTPUT ?= outputs/demo
BENCH_OUTPUT ?= benchmarks/results
BENCHMARKS := inference post_processing bounded_error assignment training_step input_pipeline evaluation data import_time accelerator scale

.DEFAULT_GOAL := help
.PHONY: help demo test test-all style quality bench clean

help:
	@echo "make demo      generate data, train the tiny model, evaluate it, draw its scene graphs"
	@echo "make test      run the tests (make test-all: the slow ones too)"
	@echo "make bench     measure speed and memory, beside what else does the same (some 45 minutes on two cores)"
	@echo "make quality   check style (make style: fix it)"

# Rebuilt when the requirements change. The stamp is written last: an interrupted installation starts again.
.venv/.installed: setup.cfg constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[train,eval,viz,video,export,app,dev]"
	# Requires numpy 1 in its metadata, but the functions the tests compare with run with numpy 2.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps sgbench
	# In a folder of its own: where it can be found, every program that imports transformers loads it and is told so.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps --upgrade --target .venv/quantization torchao
	@touch $@

demo: .venv/.installed
	$(BIN)/python training/demo.py --output $(DEMO_OUTPUT)

# One thread each: two workers share two cores.
test: .venv/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow"

test-all: .venv/.installed
	$(BIN)/python -m pytest

style: .venv/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

quality: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# One after the other, on a machine that does nothing else.
bench: .venv/.installed
	@mkdir -p $(BENCH_OUTPUT)
	@for name in $(BENCHMARKS); do \
		echo "== $$name"; \
		$(BIN)/python -m benchmarks.$$name --output $(BENCH_OUTPUT)/$$name.json || exit 1; \
	done

clean:
	rm -rf .venv build *.egg-info
