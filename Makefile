# One word a chore; CI runs the same words. `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 1
TRT ?= build/trt

.DEFAULT_GOAL := help
.PHONY: help install demo test quick test-gpu check lint types trt-tools trt-types contracts fix bench bench-gpu clean

help:  ## list the words
	@sed -n 's/^\([a-z-]*\):.*##\(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

$(BIN)/ruff: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[train,build,dev]'
	@touch $@

install: $(BIN)/ruff  ## everything a developer needs, in .venv

demo: install  ## classify the example clip
	$(BIN)/ascstream file examples/clip.mp4

test: install  ## install and run every test
	$(BIN)/pytest

quick: install  ## the tests of less than a second each
	$(BIN)/pytest -m "not slow and not gpu"

test-gpu: install  ## the tests that need a CUDA device, TensorRT and pycuda or cuda-bindings; see docs/engines.md
	$(BIN)/pytest -m gpu

check: lint types contracts  ## linters, types, import contracts

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini

trt-tools:  ## what the TensorRT tests need without a GPU, in build/trt; two minutes, once
	$(PYTHON) tests/tools/tensorrt_tools.py --folder $(TRT)

trt-types: install  ## the types of engines/trt against TensorRT 10.3 and 11.4
	$(PYTHON) tests/tools/tensorrt_tools.py --folder $(TRT) stubs
	for version in 10.3 11.4; do MYPYPATH=$(TRT)/stubs/$$version $(BIN)/mypy --no-warn-unused-ignores \
	  --cache-dir .mypy_cache/tensorrt-$$version engines/trt || exit 1; done

contracts: install
	$(BIN)/lint-imports

fix: install  ## format, and mend what a linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

NEED_DATA := benchmarks/imports.py benchmarks/open_scenes.py benchmarks/slim_av%

bench: install  ## every benchmark, each a ratio in one run
	for file in $(filter-out $(NEED_DATA) benchmarks/compile.py benchmarks/gpu%,$(wildcard benchmarks/*.py)); do $(BIN)/python $$file || exit 1; done

bench-gpu: install  ## TensorRT beside PyTorch and ONNX Runtime, and what the device could do at best: needs a GPU
	$(BIN)/python benchmarks/gpu.py

clean:  ## what builds and test runs left
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
