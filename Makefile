# Portico. `make` alone lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/sh
.SUFFIXES:

PY := .venv/bin/python
STRIPE_CLI := .venv/stripe-cli/node_modules/.bin/stripe
# Bytecode is written even where the caller's environment says otherwise: without it every worker reads and rewrites all tests anew, and
# every process that a test starts compiles what it runs.
PYTEST = PYTHONDONTWRITEBYTECODE= STRIPE_CLI="$(abspath $(wildcard $(STRIPE_CLI)))" $(PY) -m pytest
DEPLOY_TOOLS := .venv/deploy
PATHS := portico services shared local sandbox tests examples scripts deploy

# What is installed, each written when it succeeded: the second time costs nothing.
FOR_RUN := .venv/.for-run
FOR_TEST := .venv/.for-test
FOR_BENCH := .venv-bench/.installed
RUN_REQUIREMENTS := requirements.txt requirements-sandbox.txt
TEST_REQUIREMENTS := $(RUN_REQUIREMENTS) requirements-dev.txt
FOR_DEPLOY := .venv/.for-deploy

##@ Use

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z][a-z0-9-]*:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: $(FOR_RUN) ## The whole loop in one process, in memory and SQLite; needs Python alone
	@exec $(PY) -m local

.PHONY: stack
stack: $(FOR_RUN) servers ## The same as separate processes on a private RabbitMQ and PostgreSQL
	@exec $(PY) -m local.stack

##@ Check

# On a machine that others share a process may stand still for longer than a test can know of. What passes then is listed as RERUN.
ONCE_MORE := --reruns 1 --reruns-delay 5 -raR

.PHONY: test
test: export HYPOTHESIS_PROFILE := whole
test: $(FOR_TEST) $(FOR_DEPLOY) servers promtool stripe-cli amqplib ## Everything: lint, unit, contract, integration and end-to-end tests, k8s
	@echo "test: lint, and beside it rules, handlers, whole stories and manifests"
	@$(MAKE) --no-print-directory -j 2 lint test-unit-whole
	@echo "test: contract, end-to-end and integration tests, three files at a time"
	@$(PYTEST) $(ONCE_MORE) -n 3 --dist loadfile --no-loadscope-reorder -m "not punctual and not alone" tests --ignore tests/unit $(addprefix --ignore=,$(IMAGE_TESTS) $(LONG_TESTS))
	@echo "test: what keeps seconds that the product promises, three files at a time"
	@$(PYTEST) $(ONCE_MORE) -n 3 --dist loadfile --no-loadscope-reorder -m punctual $(PUNCTUAL_TESTS)
	@echo "test: what measures time or memory, alone"
	@$(PYTEST) $(ONCE_MORE) -m alone $(ALONE_TESTS)

# Not the target k8s and test-stories: fewer processes, and the last to end has others beside it.
.PHONY: test-unit-whole
test-unit-whole: $(FOR_TEST) $(FOR_DEPLOY)
	@$(PYTEST) -p no:rerunfailures -n 2 --dist worksteal tests/unit

.PHONY: test-unit
test-unit: $(FOR_TEST) ## Rules and handlers, without network, in seconds (all of them: make test-unit-whole)
	@$(MAKE) --no-print-directory -j 2 $(if $(filter output-sync,$(.FEATURES)),--output-sync) test-unit-rooms test-unit-rest

# Two processes, each with rooms of its own that take about the same time: a test that is handed to a worker costs twice of what most
# take, and each worker reads all tests. A file that is marked as a whole is not even read.
UNIT_ROOMS := tests/unit/portal tests/unit/notifier tests/unit/sandbox_mail
UNIT_LEFT_OUT = tests/unit/deploy tests/unit/stories $(shell grep -rl --include='test_*.py' '^pytestmark = pytest.mark.whole' tests/unit)
UNIT = $(PYTEST) -q -p no:xdist -p no:rerunfailures -m "not whole" $(addprefix --ignore=,$(UNIT_LEFT_OUT))

.PHONY: test-unit-rooms test-unit-rest
test-unit-rooms:
	@$(UNIT) $(UNIT_ROOMS)
test-unit-rest:
	@$(UNIT) $(addprefix --ignore=,$(UNIT_ROOMS)) tests/unit

.PHONY: test-contract
test-contract: $(FOR_TEST) servers ## Golden events; one suite for each port's fake and real adapter
	@$(PYTEST) tests/contract

.PHONY: test-integration
test-integration: $(FOR_TEST) servers amqplib ## On a real RabbitMQ and PostgreSQL of the tests' own
	@$(PYTEST) tests/integration

.PHONY: test-e2e
test-e2e: $(FOR_TEST) servers ## In a browser, through the whole loop
	@$(PYTEST) tests/e2e

IMAGE_TESTS := tests/integration/test_image.py
# The files of tests with a marker of pyproject.toml.
PUNCTUAL_TESTS = $(shell grep -rl --include='test_*.py' 'pytest\.mark\.punctual' tests)
ALONE_TESTS = $(shell grep -rl --include='test_*.py' 'pytest\.mark\.alone' tests)
LONG_TESTS := tests/faults/test_crash_points.py tests/faults/test_promises.py tests/faults/test_crowd.py \
	tests/faults/test_stopping.py tests/faults/test_deafness.py tests/faults/test_rolling.py tests/faults/test_rotation.py

.PHONY: test-image
test-image: $(FOR_TEST) servers ## Build the image and run the loop from it (needs podman or buildah, and minutes)
	@$(PYTEST) $(IMAGE_TESTS)

EVENTS ?= 10000
SEED ?= 1
ACCOUNTS ?= 0

.PHONY: faults
faults: $(FOR_TEST) servers ## Kill and cut everything under load, then check the books: EVENTS=10000 SEED=1 ACCOUNTS=200
	@$(PY) -m tests.faults.run --events $(EVENTS) --seed $(SEED) --accounts $(ACCOUNTS)

MESSAGES ?= 100000
REQUESTS ?= 100000

.PHONY: fuzz
fuzz: $(FOR_TEST) servers ## Hostile input over every door and queue: MESSAGES=100000 REQUESTS=100000 SEED=1
	@$(PY) -W ignore -m tests.faults.fuzz --messages $(MESSAGES) --requests $(REQUESTS) --seed $(SEED)

API_REQUESTS ?= 10000

.PHONY: fuzz-api
fuzz-api: $(FOR_TEST) servers ## Invented requests to the HTTP API for hosts, judged by its OpenAPI document: API_REQUESTS=10000
	@API_REQUESTS=$(API_REQUESTS) $(PYTEST) --timeout 0 tests/faults/test_host_api.py

.PHONY: test-reliability
test-reliability: $(FOR_TEST) servers ## Crash points, promises, a rolling upgrade and back, rotations (minutes)
	@$(PYTEST) $(LONG_TESTS)

.PHONY: test-crash-points
test-crash-points: $(FOR_TEST) servers ## Die at each point between two side effects; UPDATE_DOCS=1 writes the table
	@$(PYTEST) tests/faults/test_crash_points.py

STORIES ?= 2000

.PHONY: test-stories
test-stories: $(FOR_TEST) ## What each room says in each situation, then in invented stories: STORIES=2000 (about four in a second)
	@STORIES=$(STORIES) $(PYTEST) --timeout 0 tests/unit/stories

.PHONY: k8s
k8s: $(FOR_TEST) $(FOR_DEPLOY) promtool ## Render every overlay and check it: schemas, checkov, references, alerts, YAML, Dockerfile
	@DEPLOY_TOOLS_REQUIRED=1 $(PYTEST) tests/unit/deploy

.PHONY: k8s-apply
k8s-apply: $(FOR_DEPLOY) ## Apply each overlay to the API server of KUBECONFIG: strictly, twice, the next release, back (a cluster that nobody needs)
	@sh scripts/k8s-apply

.PHONY: lint
lint: $(FOR_TEST) ## ruff, mypy, import-linter
	@echo "lint: ruff check"; $(PY) -m ruff check --quiet $(wildcard $(PATHS))
	@echo "lint: ruff format"; $(PY) -m ruff format --quiet --check $(wildcard $(PATHS))
	@echo "lint: mypy"; $(PY) -m mypy --no-error-summary
	@echo "lint: import-linter"; out=$$(.venv/bin/lint-imports --no-cache 2>&1) || { echo "$$out"; exit 1; }

.PHONY: format
format: $(FOR_TEST) ## Let ruff mend what it can
	@$(PY) -m ruff check --quiet --fix $(wildcard $(PATHS)); $(PY) -m ruff format --quiet $(wildcard $(PATHS))

##@ Measure

.PHONY: bench
bench: $(FOR_TEST) $(FOR_BENCH) servers ## Speed against yardsticks in the same run; writes docs/benchmarks.md
	@$(PY) -m tests.bench

.PHONY: bench-alone
bench-alone: $(FOR_TEST) servers ## One failure on an idle system beside what it is made of; prints, and writes nothing: BENCH_FAILURES=120
	@$(PY) -m tests.bench alone

.PHONY: bench-storm
bench-storm: $(FOR_TEST) servers ## A storm of failures until the last mail: EVENTS=20000 NOTIFIERS=1
	@$(PY) -m tests.bench.storm

.PHONY: bench-fairness
bench-fairness: $(FOR_TEST) servers ## How long an account's mails take beside another's flood, whose Stripe is quick, slow, or says 429: FLOOD=2500
	@$(PY) -m tests.bench.fairness

.PHONY: bench-accounts
bench-accounts: $(FOR_TEST) servers ## What a page and a webhook cost with 10,000 Stripe accounts beside one, in turns; about 3 minutes
	@$(PY) -m tests.bench.accounts

.PHONY: bench-hooks
bench-hooks: $(FOR_TEST) servers ## Webhooks to hosts a second, to one endpoint and to 200 businesses' ones: HOOKS=2000
	@$(PY) -m tests.bench.hooks

.PHONY: bench-api
bench-api: $(FOR_TEST) servers ## The HTTP API for hosts: an upsert beside a page, customers a second by one key
	@$(PY) -m tests.bench.host_api

.PHONY: import-at-size
import-at-size: $(FOR_TEST) servers ## Import an account of CUSTOMERS=50000 on the real system, killed three times, with webhooks meanwhile
	@$(PY) -m tests.bench.importing

.PHONY: observe-at-size
observe-at-size: $(FOR_TEST) servers ## Observe a storm of EVENTS=5000 failures, go live, accept: nothing goes before, then each once
	@$(PY) -m tests.bench.observing

.PHONY: bench-stalls
bench-stalls: $(FOR_TEST) servers ## How long others wait while somebody sends what should stall a service
	@$(PY) -m tests.bench.stalls

.PHONY: bench-growth
bench-growth: $(FOR_TEST) servers ## What 10 million customers and old webhooks cost; about 10 minutes and 25 GB of disk
	@$(PY) -m tests.bench.growth

##@ Ship

.PHONY: image
image: ## Build portico:dev and portico-sandbox:dev with docker, podman or buildah; BASE=debian where no registry is in reach
	@BASE="$(BASE)" sh scripts/build-image

.PHONY: sbom
sbom: $(FOR_TEST) $(FOR_DEPLOY) ## A CycloneDX list of the Python packages in the image, with versions and hashes: var/sbom.json
	@mkdir -p var
	@PYTHONWARNINGS=ignore $(DEPLOY_TOOLS)/bin/cyclonedx-py requirements --output-reproducible --pyproject pyproject.toml -o var/sbom.json requirements.txt
	@echo "sbom: var/sbom.json"

##@ Keep

.PHONY: docs
docs: $(FOR_TEST) ## Write the pages that come from the code: events, RPC, settings
	@$(PY) -m scripts.make_docs

LOCALES := shared/l10n/locales

.PHONY: texts
texts: $(FOR_TEST) ## Bring the catalogues up to date with the texts in code and templates; LANGUAGE=sv begins a new one
	@.venv/bin/pybabel --quiet extract -F $(LOCALES)/babel.cfg --no-location --sort-output --project=Portico \
		--copyright-holder="The Portico authors" --version=1 -o $(LOCALES)/portico.pot .
	@.venv/bin/pybabel --quiet update --ignore-pot-creation-date -D portico -i $(LOCALES)/portico.pot -d $(LOCALES)
	@if [ -n "$(LANGUAGE)" ]; then .venv/bin/pybabel --quiet init -D portico -i $(LOCALES)/portico.pot -d $(LOCALES) -l $(LANGUAGE); fi

COMPILE := $(PY) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-emit-find-links

.PHONY: requirements
requirements: $(FOR_TEST) ## Pin what requirements*.in ask for, with hashes
	@for name in requirements requirements-sandbox requirements-dev requirements-deploy requirements-bench; do \
		echo "requirements: $$name.in -> $$name.txt"; $(COMPILE) --output-file $$name.txt $$name.in || exit 1; done

.PHONY: screenshots
screenshots: $(FOR_TEST) servers ## Every page state and email, phone and desktop, light and dark, in var/screenshots
	@$(PY) -m scripts.gallery

.PHONY: clean
clean: ## Remove what these targets made: .venv, var, caches
	@rm -rf .venv .venv-bench var .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: stripe-cli
stripe-cli: $(FOR_TEST)
	@sh scripts/install-stripe-cli

.PHONY: amqplib
amqplib: $(FOR_TEST)
	@sh scripts/install-amqplib

.PHONY: servers
servers:
	@sh scripts/install-servers

$(FOR_RUN): $(RUN_REQUIREMENTS) scripts/install-python scripts/find-python
	@sh scripts/install-python $@ $(RUN_REQUIREMENTS)

$(FOR_BENCH): requirements-bench.txt scripts/find-python
	@echo "setup: installing requirements-bench.txt into .venv-bench (pinned, checked by hash)"
	@rm -rf .venv-bench && $$(sh scripts/find-python) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install -qq --disable-pip-version-check --no-input --require-hashes -r requirements-bench.txt
	@touch $@

$(FOR_TEST): $(TEST_REQUIREMENTS) scripts/install-python scripts/find-python
	@sh scripts/install-python $@ $(TEST_REQUIREMENTS)

.PHONY: promtool
promtool:
	@sh scripts/install-promtool

$(FOR_DEPLOY): requirements-deploy.txt scripts/install-python scripts/find-python | $(FOR_TEST)
	@VENV=$(DEPLOY_TOOLS) sh scripts/install-python $@ requirements-deploy.txt
