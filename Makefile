# The few commands everyone needs. PYTHON names the interpreter that .venv-test is made with.
PYTHON ?= python3
BIN := .venv-test/bin

.PHONY: install test lint docs bench

install:
	$(PYTHON) -m venv .venv-test
	$(BIN)/pip install -q -c constraints.txt -e '.[cpu,train,test]'

test:
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs:
	$(BIN)/python docs/make_command_pages.py

bench:
	$(BIN)/nsp bench
