# What can be done here. `make PYTHON=/path/to/python3.11 ...` chooses the interpreter.
PYTHON ?=
PORT ?= 8000
export PYTHON
.DEFAULT_GOAL := help
.PHONY: help demo docs test bench clean

help: ## say what there is
	@grep -hE '^[a-z]+: .*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z]+):.*## (.*)/make \1\t\2/'

demo: ## the fire drill: fifteen outages against an emulated OpenRouter, and a report; no key needed
	@bash .ci/venv
	@.venv/bin/openrouter-fallback drill --config examples/fallback.yaml

docs: ## the documentation as a site, at http://127.0.0.1:8000 until Ctrl-C; another port: PORT=8001
	@bash .ci/venv docs
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs serve --dev-addr 127.0.0.1:$(PORT)

test: ## everything that CI runs
	@bash .ci/run

bench: ## the same calls through this library and through the openai SDK, as ratios of CPU time
	@bash .ci/venv bench
	@.venv/bin/python benchmarks/speed.py

clean: ## remove the environment and everything that was built
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
