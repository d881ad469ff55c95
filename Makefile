# Two commands do all the set-up: `make demo` and `make test`. Each makes the virtual environment if it must.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
IMAGE ?= tlsproxy
COMPANIONS := topz configsync
# registry.example/topz:1 beside registry.example/tlsproxy:1
beside = $(patsubst ./%,%,$(dir $(IMAGE)))$(1)$(patsubst tlsproxy%,%,$(notdir $(IMAGE)))
PYTHON_IMAGE ?= docker.io/library/python:3.13-slim
LOCKS := requirements.lock $(COMPANIONS:%=requirements-%.lock)
LOCK := --quiet --strip-extras --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

.PHONY: help demo demos $(COMPANIONS:%=demo-%) test check docs fuzz bench bench-quick image images $(COMPANIONS:%=image-%) test-image audit lock format clean

help:  ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.run  ## HTTPS in front of a small legacy app, with a rotation under load
	@$(BIN)/tlsproxy demo

demos: $(COMPANIONS:%=demo-%)  ## those of the other sidecars: demo-topz, demo-configsync

demo-topz demo-configsync: demo-%: $(VENV)/.run-%
	@$(BIN)/$* demo

# Half of the time tests wait for a deadline or a process: five at once keep two cores busy. What pytest makes of the
# modules is kept: to make it again takes each of the five 4 s.
test: $(VENV)/.dev  ## the everyday tests
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 5 --dist worksteal -m 'not soak and not scan' $(ARGS)

check: $(VENV)/.dev  ## lint, format, types, dead code
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/vulture

# The second by name alone: pip install atheris, which has wheels for some versions of Python only.
fuzz: $(VENV)/.dev  ## think up what could come in: Hypothesis, then atheris where it is (ARGS='requests --cases 1000000')
	@$(BIN)/python -m pytest tests/fuzz --hypothesis-profile=fuzz --timeout=600
	@$(BIN)/python -m tests.fuzz $(ARGS) || test $$? -eq 77

format: $(VENV)/.dev  ## format the code
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

# Without --quiet, which keeps --strict from counting warnings.
docs: $(VENV)/.docs  ## the pages of docs/ as a site: dist/site/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict $(ARGS)

bench: $(VENV)/.dev  ## side by side with nginx, haproxy, caddy and others: a quarter of an hour
	@$(BIN)/python -m bench $(ARGS)

bench-quick: $(VENV)/.dev  ## the same in two minutes, with fewer loads and fronts
	@$(BIN)/python -m bench --quick $(ARGS)

image:  ## the container image, and beside it what it is made of: dist/*.cdx.json
	podman build --format docker $(BUILD_FLAGS) --build-arg PYTHON_IMAGE=$(PYTHON_IMAGE) -t $(IMAGE) .
	@deploy/image/sbom $(PYTHON) requirements.lock dist/$(notdir $(IMAGE)).cdx.json || test $$? -eq 77

images: image $(COMPANIONS:%=image-%)  ## that, and one each for topz and configsync, named after it

$(COMPANIONS:%=image-%): image-%:
	podman build --format docker $(BUILD_FLAGS) --build-arg PYTHON_IMAGE=$(PYTHON_IMAGE) --target $* -t $(call beside,$*) .
	@deploy/image/sbom $(PYTHON) requirements-$*.lock dist/$(notdir $(call beside,$*)).cdx.json || test $$? -eq 77

test-image: $(VENV)/.dev  ## the tests of the images: pods under podman
	@TLSPROXY_IMAGE=$(IMAGE) $(BIN)/python -m pytest tests/container $(ARGS)

audit: $(VENV)/.dev  ## known vulnerabilities in the images' dependencies, as the package index knows them
	@$(BIN)/python deploy/image/audit.py $(LOCKS) || test $$? -eq 77

# A companion's has the versions of the proxy's, and more.
lock: $(VENV)/.dev  ## the images' dependencies, pinned with hashes
	@$(BIN)/pip-compile $(LOCK) --output-file requirements.lock pyproject.toml
	@for companion in $(COMPANIONS); do $(BIN)/pip-compile $(LOCK) --extra $$companion --constraint requirements.lock \
		--output-file requirements-$$companion.lock pyproject.toml || exit; done
	@$(BIN)/pip-compile $(LOCK) --build-deps-for wheel --only-build-deps --output-file requirements-build.lock pyproject.toml

clean:  ## forget the virtual environment and what tools left
	rm -rf $(VENV) .mypy_cache .ruff_cache dist build

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "tlsproxy needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.13 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "'$(PYTHON)' has no venv module. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "making the virtual environment in $(VENV)" >&2
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -qq --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.run: $(VENV)/.made pyproject.toml
	@$(BIN)/python -m pip install -qq --editable .
	@touch $@

$(VENV)/.run-%: $(VENV)/.run
	@$(BIN)/python -m pip install -qq --editable '.[$*]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@$(BIN)/python -m pip install -qq --group dev
	@touch $@

$(VENV)/.docs: $(VENV)/.run
	@$(BIN)/python -m pip install -qq --group docs
	@touch $@
