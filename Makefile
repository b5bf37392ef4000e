# `make help` lists the commands. Each of them first sees to the environment in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One stamp per set of packages: what a lesson needs, what a teacher needs, what the tests need.
LAB := $(VENV)/.course-lab
TEACH := $(VENV)/.course-teach
DEV := $(VENV)/.course-dev
# make lab UV=1 installs with uv, if you have it; where it finds torch's CPU build it is much faster.
UV ?=
LESSONS ?=
FORCE ?=
LAB_ARGS ?=
ARGS ?=
WORKERS ?= 2
INSTALL = $(if $(UV),uv pip install --python $(BIN)/python,$(BIN)/python -m pip install) --quiet -c constraints.txt

# One thread per process: the networks of the course are small, and processes side by side only get in each other's way.
ONE_THREAD := OMP_NUM_THREADS=1
# A kernel of ours must win over one that the user has installed under the same name.
export JUPYTER_PREFER_ENV_PATH := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help lab test quick lint units browser notebooks run html assignment bench screenshot results

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

lab: $(LAB) ## open JupyterLab on lesson 00, in your own copies under work/ (LAB_ARGS="--no-browser" passes options on)
	@$(BIN)/python -m course_lib.classroom.tools.lab $(LAB_ARGS)

# A browser test mostly waits, so the unit tests run beside it, in one process. Each of the two is shown when it is done.
test: lint ## everything that has to pass: style, unit tests, every notebook
	@$(MAKE) --no-print-directory -j 2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) WORKERS=1 units browser
	@$(MAKE) --no-print-directory notebooks
	@printf '\n== All passed ==\n'

quick: $(DEV) ## unit tests without the browser and without the slow ones (ARGS="-k focal" picks)
	@$(ONE_THREAD) $(BIN)/python -m pytest -n 2 --dist loadfile -p no:nbval -m "not slow" --ignore=tests/browser $(ARGS)

lint: $(DEV) ## style: ruff's rules and its format, notebooks included
	@printf '\n== Style ==\n'
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .

run: $(TEACH) ## execute lessons headless and save them clean (LESSONS="01 09" picks, FORCE=1 in spite of uncommitted changes)
	@$(BIN)/python -m course_lib.classroom.tools.notebooks $(if $(FORCE),--force) $(LESSONS)

html: $(TEACH) ## every lesson as a page that teaches without a kernel, in build/html/
	@$(BIN)/python -m course_lib.classroom.tools.pages

assignment: $(TEACH) ## exercises as an nbgrader assignment, in build/assignments/ (LESSONS=01 picks)
	@$(BIN)/python -m course_lib.classroom.tools.assignments $(LESSONS)

bench: $(DEV) ## benchmarks, one process
	@$(BIN)/python -m pytest tests/benchmarks -p no:xdist --benchmark-only $(ARGS)

screenshot: $(DEV) ## the README's picture of lesson 09's explorer, taken anew in a real browser
	@$(BIN)/python -m tests.browser.screenshot

results: $(LAB) ## make the recorded runs anew, for hours; stop and go on at will (ARGS="--quick wine" for minutes, see --help)
	@$(ONE_THREAD) $(BIN)/python data/results/study.py $(ARGS)

# ---- parts of `make test` ----

# --dist loadfile: what a file's tests share is made once. nbval is not needed and takes four seconds to load.
units: $(DEV)
	@printf '\n== Unit tests ==\n'
	@$(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -p no:nbval --ignore=tests/browser $(ARGS)

# In one process: two servers, two browsers and their kernels would only get in each other's way.
browser: $(DEV)
	@printf '\n== In a real browser ==\n'
	@$(ONE_THREAD) $(BIN)/python -m pytest -p no:xdist tests/browser

# --dist loadfile keeps a notebook's cells in one kernel. 5 means that there was no notebook to collect.
notebooks: $(DEV)
	@printf '\n== Notebooks ==\n'
	@$(ONE_THREAD) $(BIN)/python -m pytest -p no:cacheprovider --nbval-lax --nbval-current-env --nbval-cell-timeout=120 \
	  -n 2 --dist loadfile notebooks/ || { status=$$?; [ $$status -eq 5 ] && echo "No notebook yet."; }

# ---- the environment ----

# A stamp is written last, so that a set-up that failed half-way is done again, and it holds the folder's name, because a
# moved or copied environment still imports the library from its old place.
stale = $(if $(filter $(CURDIR),$(shell cat $(1) 2>/dev/null)),,$(1))
.PHONY: $(foreach stamp,$(LAB) $(TEACH) $(DEV),$(call stale,$(stamp)))

$(LAB): extras :=
$(TEACH): extras := [teach]
$(DEV): extras := [dev,teach]
$(LAB) $(TEACH) $(DEV): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "The course needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)."; \
	  echo "If you have a newer one under another name, say so: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@rm -f $@
	@$(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Making the environment in $(VENV) (once; one to a few minutes) ..."; \
	  rm -rf $(VENV); $(PYTHON) -m venv $(VENV) || { \
	  echo "Python could not make an environment. On Debian and Ubuntu: apt install python3-venv"; exit 1; }; }
	@echo "Installing what the course needs ..."
	@$(INSTALL) setuptools
	@$(INSTALL) --no-build-isolation -e '.$(extras)'
	@# No news pop-up and no call to the network when the lab opens, and no teacher's panels in a student's lab
	@# (a teacher gets them with: .venv/bin/jupyter labextension enable --level=sys_prefix @jupyter/nbgrader).
	@for extension in @jupyterlab/apputils-extension:announcements @jupyter/nbgrader; do \
	  $(BIN)/python -m jupyter labextension disable --level=sys_prefix "$$extension" >/dev/null 2>&1 || true; done
	@printf '%s\n' "$(CURDIR)" > $@
