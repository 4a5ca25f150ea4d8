# Everything a person or CI calls. Each target installs what it needs; a second run of it is free.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
PY := .venv/bin/python
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONPATH := operator:trainer-image:tests

.PHONY: help
help: ## Print this.
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

.PHONY: python
python:
	@hack/bootstrap.sh python

.PHONY: demo
demo: ## From a bare machine to a tuned model answering in a cluster.
	@hack/demo/run

.PHONY: test
test: lint verify ## Everything: lint, types, import rules, unit, trainer, API and end-to-end tests.
	@hack/test

.PHONY: lint
lint: python ## ruff, mypy --strict and the import rules.
	ruff check .
	ruff format --check .
	mypy -p tunewright -p tunewright_trainer
	lint-imports --no-logo

.PHONY: unit
unit: python ## Unit tests: pure code and the rendered chart, no cluster.
	@hack/cluster/build helm
	hack/pytest unit -q -n 2 tests/unit

.PHONY: trainer
trainer: python ## Trainer tests with real models, inside the trainer's image.
	hack/bootstrap.sh host
	hack/images/test-trainer

.PHONY: api
api: python ## API tests: a real kube-apiserver and etcd.
	hack/cluster/build apiserver
	hack/pytest api -q tests/api

.PHONY: campaign
campaign: python ## Changes generated from the CRD schemas, 1,000 a kind at least, against a real API server (SEED=, OPERATIONS=).
	hack/cluster/build apiserver
	SEED=$(SEED) OPERATIONS=$(OPERATIONS) pytest -q -s tests/api/test_campaign.py

.PHONY: e2e
e2e: python ## End-to-end tests: real Pods in the local cluster; every file in examples/ is applied.
	hack/cluster/up
	hack/install
	hack/pytest e2e -q tests/e2e

.PHONY: bench-operator
bench-operator: python ## Speed, writes and memory of the operator with N resources (1000); with CHECK=1 against bench/limits.json.
	hack/cluster/build apiserver
	hack/record bench-operator-$(if $(CHECK),check,$(or $(N),1000)) $(PY) -m bench.operator $(if $(CHECK),--check,--resources $(or $(N),1000))

.PHONY: cluster-up cluster-down kubeconfig
cluster-up: ## Start the local cluster (kind where a container engine runs; TUNEWRIGHT_CLUSTER=current for your own).
	@hack/cluster/up
cluster-down: ## Stop it and leave nothing behind.
	@hack/cluster/down
kubeconfig: ## Print the path of its kubeconfig.
	@hack/cluster/kubeconfig

.PHONY: images
images: ## Build the images and load them into the local cluster.
	@hack/images/load operator trainer server-cpu model

.PHONY: audit sbom
audit: python ## Look for known vulnerabilities of the locked packages; fails too when no database can be reached.
	@hack/supply/audit
sbom: python ## Write what the images are made of to dist/ (CycloneDX).
	@hack/supply/sbom dist

.PHONY: trust
trust: python ## Write docs/trust.md from the results of the other targets; fails when a claim is not shown by them.
	@$(PY) hack/trust/trust.py

.PHONY: generate verify
generate: python ## Write crds/ from the API types.
	@$(PY) -m tunewright.cli.generate
verify: python ## Fail when crds/ differs from the API types, or uv.lock from pyproject.toml.
	@$(PY) -m tunewright.cli.generate --check
	@$$(hack/bootstrap.sh uv) lock --check --quiet
	@$(PY) examples/quickstart/make_data.py --check
