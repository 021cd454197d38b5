# `make book` builds the course, `make test` checks it. Both set everything up by themselves;
# where there is no make: python tools/tasks.py book.

PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11 python,$(if $(shell command -v $(p) >/dev/null 2>&1 && $(p) -c 'import sys; print(sys.version_info >= (3, 11))' 2>/dev/null | grep True),$(p))))

.PHONY: book test check lint bench checks times peers setup clean help

book: python  ## build the book and print the page to open
	@$(PYTHON) tools/tasks.py book

test: python  ## run every test, the notebooks and the pages included
	@$(PYTHON) tools/tasks.py test

check: python  ## lint, types, and the tests of what changed (since a commit: SINCE=main)
	@$(PYTHON) tools/tasks.py check --since $(or $(SINCE),HEAD)

lint: python  ## ruff and mypy
	@$(PYTHON) tools/tasks.py lint

bench: python  ## time the library beside its peers
	@$(PYTHON) tools/tasks.py bench

checks: python  ## measure how well the numerics agree with their oracles and peers
	@$(PYTHON) tools/tasks.py checks

times: python  ## measure what each chapter takes and record it
	@$(PYTHON) tools/tasks.py times

peers: python  ## install the libraries that ours is compared with
	@$(PYTHON) tools/tasks.py peers

setup: python  ## only create .venv and install
	@$(PYTHON) tools/tasks.py setup

clean:  ## remove what the build made, keep .venv
	rm -rf _build dist

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*##/ :/'

.PHONY: python
python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer was found. Install one, or name it: make book PYTHON=/path/to/python3"; exit 1; }
