# Everything runs in .venv, which `make venv` builds from python3 (3.10 or newer) and pip alone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NICE ?=
WORKERS ?= 2

PROJECTS := pyproject.toml $(sort $(wildcard plugins/*/pyproject.toml))
PLUGINS := $(patsubst %/pyproject.toml,%,$(filter plugins/%,$(PROJECTS)))
# Plugins with a build hook carry a native engine that takes minutes to build: `make engines` does.
BUILT := $(sort $(patsubst %/,%,$(dir $(wildcard plugins/*/hatch_build_*.py))))
READY := $(filter-out $(BUILT),$(PLUGINS))
# The stamp's name carries what the environment was made from: any change of a project file or of
# the Python makes a new name, and nothing else does (not a fresh checkout's file times).
STAMP := $(VENV)/.installed-$(shell (cat Makefile $(PROJECTS); $(PYTHON) -V) 2>&1 | sha256sum | cut -c1-16)
# rustup's cargo finds its toolchain by HOME. Where that is an empty folder, it lies beside cargo.
WITH_CARGO = cargo --version > /dev/null 2>&1 \
  || export RUSTUP_HOME="$$(dirname "$$(command -v cargo)")/../../.rustup";
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help venv engines spec-tests demo demo-2 test test-onnx test-orders test-support fuzz-aot cache-faults hammer soak load-cycles check format wheels clean

help: ## lists the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1: /p' $(MAKEFILE_LIST) | awk -F': ' '{printf "  make %-12s %s\n", $$1, $$2}'

venv: $(STAMP) ## builds .venv with the core, the plugins and everything tests and demos need

$(STAMP):
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "python3 is older than 3.10; set PYTHON=")'
	test "$$($(BIN)/python -V 2>&1)" = "$$($(PYTHON) -V 2>&1)" || $(PYTHON) -m venv --clear $(VENV)
	$(PIP) install --upgrade 'pip>=25.1' 'hatchling>=1.25'
	$(PIP) install --editable '.[ml-dtypes,cli,compiler]' --editable plugins/wasmtime --editable plugins/null \
	  --group test --group check --group demo
	# One that cannot be installed here (wasm3's package is C source) is left out of the tests.
	$(foreach p,$(filter-out plugins/wasmtime plugins/null,$(READY)),$(PIP) install --editable $(p) \
	  || echo "$(p): left out, see above";)
	# For their model files and OCR's pre- and post-processing: silero-vad asks for torch, and
	# rapidocr-onnxruntime for a desktop's OpenCV and a Python below 3.13; neither is needed.
	$(PIP) install --no-deps --ignore-requires-python 'silero-vad>=6.2' 'rapidocr-onnxruntime>=1.4'
	rm -f $(VENV)/.installed-*
	@echo "left out until make engines builds them: $(subst _,-,$(notdir $(BUILT)))"
	touch $@

engines: $(STAMP) ## builds and installs the engines that come ready from no registry
	$(WITH_CARGO) $(BIN)/python engines/install.py --keep-going
	$(BIN)/iree-wasm engines

spec-tests: $(STAMP) ## converts the official wasm tests, which make test then runs on every engine
	$(WITH_CARGO) $(BIN)/python tests/spec/convert.py

demo: $(STAMP) ## recognises this repository's own files with the Magika model
	$(BIN)/python demos/magika_demo.py

demo-2: $(STAMP) ## draws a picture with text and reads it with the PP-OCR models
	$(BIN)/python demos/ocr_demo.py

test: $(STAMP) ## runs all tests on the engines that are installed
	$(NICE) $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

test-onnx: $(STAMP) ## runs every ONNX backend node test here and on native IREE
	$(NICE) $(BIN)/python tests/onnx/run_node_tests.py --jobs $(WORKERS)

test-orders: $(STAMP) ## traps in all engines at once, opened in some 200 orders
	$(NICE) $(BIN)/python tests/engine/trap_orders.py --jobs $(WORKERS)

test-support: $(STAMP) ## rebuilds the kernels' support library and compares it with the committed one
	$(PIP) install "ziglang==$$($(BIN)/python -c 'from iree_wasm_hal.compiler.linking.support import build; print(build.ZIGLANG_VERSION)')"
	$(BIN)/python -m pytest tests/compiler/test_support_library.py -k rebuild

fuzz-aot: $(STAMP) ## compares wamr-aot with wasmtime on random kernels (SECONDS=, SEED=, else goes on)
	$(NICE) $(BIN)/python tests/aot_fuzz/run_aot_fuzz.py --seconds $(or $(SECONDS),60) \
	  $(if $(SEED),--seed $(SEED)) --jobs $(WORKERS)

hammer: $(STAMP) ## loads, calls, unloads, times out ... from 8 threads for 10 minutes (SECONDS=, SEED=, ENGINES=)
	$(NICE) $(BIN)/python tests/soak/run_hammer.py --seconds $(or $(SECONDS),600) \
	  $(if $(SEED),--seed $(SEED)) $(if $(ENGINES),--engines $(ENGINES))

load-cycles: $(STAMP) ## loads and unloads 1000 times on every engine; memory must stay flat (CYCLES=, ENGINES=)
	$(NICE) $(BIN)/python tests/memory/programs/load_cycles.py --cycles $(or $(CYCLES),1000) \
	  $(if $(ENGINES),--engines $(ENGINES))

soak: $(STAMP) ## runs all models with 1 to 8 threads, Magika 1000 times, and compares all bits (ENGINES=)
	$(NICE) $(BIN)/python tests/soak/run_soak.py $(if $(ENGINES),--engines $(ENGINES))

cache-faults: $(STAMP) ## damages 10,000 entries of the cache, kills 200 writers, races 500 times
	$(NICE) $(BIN)/python tests/cache/programs/entry_faults.py

check: $(STAMP) ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP) ## formats and fixes what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheels: $(STAMP) ## builds the core's and the plugins' wheels into dist/
	rm -rf dist
	mkdir dist
	$(foreach p,. $(READY),$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist $(p) &&) true
	$(WITH_CARGO) $(foreach p,$(BUILT),$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist $(p) \
	  || echo "$(p): left out, see above";)
	@ls dist

clean: ## removes everything that make made
	rm -rf $(VENV) dist build engines/*/build engines/*/build-* engines/*/target .pytest_cache .mypy_cache .ruff_cache .hypothesis
