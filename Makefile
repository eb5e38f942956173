# The two commands of the README are `make demo` and `make test`; both install what is missing first.
PY := .venv/bin/python
PYTEST_ARGS ?=

.PHONY: demo test setup lint types unit lab kernel soak generate bench clean

demo: setup
	$(PY) -m lab.demo

test: lint types unit lab kernel kubernetes

setup:
	@tools/setup

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports

types: setup
	.venv/bin/mypy apis computation apiserver runtime client controller agent antctl lab openapi

unit: setup
	$(PY) -m pytest -m "not lab and not kernel and not soak and not image and not kubernetes" $(PYTEST_ARGS)

# Real Open vSwitch and real packets between network namespaces.
lab: setup
	$(PY) -m pytest -m "lab and not soak and not kubernetes" $(PYTEST_ARGS)

# Real packets through Open vSwitch's kernel datapath, in a guest kernel; `tools/setup --kernel` builds that.
kernel: setup
	$(PY) -m pytest -m kernel $(PYTEST_ARGS)

# A real kube-apiserver and etcd, and the container image; `tools/setup --kubernetes` gets what they need.
kubernetes: setup
	$(PY) -m pytest -m "(kubernetes or image) and not soak" $(PYTEST_ARGS)

# The long versions of the lab's tests, as CI runs them.
soak: setup
	$(PY) -m pytest -m soak $(PYTEST_ARGS)

generate: setup
	$(PY) -m openapi.generate

bench: setup
	$(PY) -m benchmarks.computation
	$(PY) -m benchmarks.flows
	$(PY) -m benchmarks.realization

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
