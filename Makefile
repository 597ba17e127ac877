# `make` or `make help` lists what there is to do. Everything lands in build/ and .venv/.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
DEST ?= build/demo
BIN := .venv/bin
# The answers are the defaults of cookiecutter.json, whatever the user's own configuration says.
BAKE := bin/cookiecutter --no-input --default-config --overwrite-if-exists
SLUG := digits_demo
REFERENCE := build/reference/$(SLUG)/pyproject.toml
TEMPLATE_FILES := cookiecutter.json $(wildcard *cookiecutter.project_slug*/pyproject.toml)
# DEST may hold spaces and signs that the shell would read: it reaches the recipes through the environment.
export DEST
unexport PYTHONDONTWRITEBYTECODE
# Files of tests, whole and in the order that tests/conftest.py gives them, to as many workers as there are cores.
AT_ONCE := --numprocesses auto --dist loadfile --no-loadscope-reorder
# A copy of uv that tools/environment.py may have fetched also serves the generated project.
export PATH := $(CURDIR)/build/uv/bin:$(PATH)

.PHONY: help demo test test-fast test-lowest faults containers bench mutate docs lint audit release format clean environment

help: ## show this list
	@if [ -t 1 ] && [ -z "$$NO_COLOR" ]; then on='\033[36m' off='\033[0m'; fi; \
	awk -v on="$$on" -v off="$$off" -F ':.*## ' \
	  '/^[a-z-]+:.*## / {printf "  make " on "%-12s" off "%s\n", $$1, $$2}' Makefile

# Cookiecutter copies a template that has a hook before the first question whole, with .venv and build/ where it is a
# checkout in which somebody works. So the demo is made from the template alone.
demo: build/bake/.installed ## generate the default project, install it, run its pipeline [DEST=build/demo]
	@rm -rf build/template && mkdir build/template
	@cp -R cookiecutter.json hooks templates *cookiecutter.project_slug* build/template
	@build/bake/$(BAKE) build/template --output-dir "$$DEST"
	@$(MAKE) --no-print-directory -C "$$DEST/$(SLUG)" run

test: environment ## run all tests
	@$(BIN)/pytest $(AT_ONCE)

test-fast: environment ## run the tests that take seconds
	@$(BIN)/pytest $(AT_ONCE) -m 'not slow'

# In an environment of its own. Range and Python are the lowest; packages that those need in turn are the newest.
test-lowest: build/requirements.txt ## run the tests that take seconds with the lowest version of each dependency
	@UV_RESOLUTION=lowest-direct $(PYTHON) tools/environment.py build/lowest --group test --requirement build/requirements.txt
	@build/lowest/bin/pytest $(AT_ONCE) -m 'not slow' -W ignore::DeprecationWarning

faults: environment ## kill kernels, workers, runs and services at 20 moments each, and list what came of it
	@FAULT_MOMENTS=20 $(BIN)/pytest -s tests/runtime/test_kills.py tests/test_deploy.py -k "kill or survive"

containers: environment ## run the services of a fresh project in containers; needs Docker, takes minutes
	@WITH_CONTAINERS=1 $(BIN)/pytest tests/test_containers.py

bench: environment ## measure speed and scale, write build/bench/, fail where a limit is missed
	@$(BIN)/python -m benchmarks

docs: environment ## build the docs site, build/docs/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo build/docs/index.html

mutate: environment ## put faults into dsml/contract and dsml/store, count those that tests notice [all=1]
	@$(BIN)/python -m mutation contract $(if $(all),--all) --least 85
	@$(BIN)/python -m mutation store $(if $(all),--all) --least 85

lint: environment ## check style, format and types; change nothing
	@$(BIN)/ruff check --config pyproject.toml
	@$(BIN)/ruff format --check --config pyproject.toml
	@$(BIN)/mypy benchmarks mutation tools hooks/pre_prompt.py hooks/pre_gen_project.py hooks/post_gen_project.py
	@$(BIN)/mypy --package dsml

# Tests and the lists of what looks like a secret hold such things on purpose.
NO_SECRETS := ^tests/|/dsml/contract/(advice|secret)\.py$$|/dsml/orchestrate/channels\.py$$
# A name such as HF_TOKEN is what a parameter of the type Secret holds.
NAMES := ^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$$
audit: environment ## look for secrets in files, for faults in workflows, and for packages with known holes
	@git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --exclude-files '$(NO_SECRETS)' --exclude-secrets '$(NAMES)'
	@$(BIN)/zizmor --offline --no-progress .github
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(BIN)/check-jsonschema --builtin-schema vendor.renovate .github/renovate.json
	@$(BIN)/pip-audit --progress-spinner off

release: ## turn what is unreleased in the CHANGELOG into a version [version=1.2.0]
	@$(PYTHON) tools/release.py prepare '$(version)'

format: environment ## put the code in order
	@$(BIN)/ruff check --fix --config pyproject.toml
	@$(BIN)/ruff format --config pyproject.toml

clean: ## remove build/, the environment and all caches
	@rm -rf build .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The tests run generated projects, so the environment holds what the default project asks for, read from the
# pyproject.toml of one that has just been generated: there is no second list to keep in step.
environment: .venv/.installed

.venv/.installed: pyproject.toml build/requirements.txt
	@$(PYTHON) tools/environment.py .venv --group dev --requirement build/requirements.txt
	@touch $@

build/requirements.txt: $(REFERENCE) tools/requirements.py
	@build/bake/bin/python tools/requirements.py $(REFERENCE) dev > $@

# Without the hooks: it serves its pyproject.toml only, and must come out even while the runtime is being mended.
$(REFERENCE): build/bake/.installed $(TEMPLATE_FILES)
	@build/bake/$(BAKE) . --accept-hooks no --output-dir build/reference
	@touch $@

build/bake/.installed: pyproject.toml tools/environment.py
	@$(PYTHON) tools/environment.py build/bake --group bake
	@touch $@
