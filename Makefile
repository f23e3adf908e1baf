# make demo   EEG -> corpus -> pruned model -> GGUF -> answer -> record, tiny, offline, on two cores
# make test   lint, types, tests with the newest versions, and of the corpus with the oldest
# make check  lint, types and known weaknesses of dependencies
# make test-bounds  the corpus with the oldest versions of all that it needs; part of make test
# make test-oldest  all tests with the oldest versions of everything
# make hub-demo  push a demo run to a Hub on loopback, then use it as a stranger would (after make demo)
# make nightly  the tests that take minutes, and test-oldest
# make docs  the documentation site, in build/site
# make bench  one measured answer per question
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell $(name) -c \
  'import sys; sys.version_info[:2] >= (3, 11) and sys.version_info[:2] < (3, 14) and print("$(name)")' 2>/dev/null)))
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
CODE := dataset_builder model_recipes copilot cards hub_scripts tests benchmarks

# One thread per process: pytest starts one process per core.
TEST_ENV := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
WORKERS ?= 2

# The oldest supported versions: of what a corpus needs, and of everything. `make test` runs the same tests with the newest.
OLDEST := .venv-oldest
OLDEST_ALL := .venv-oldest-all
BOUNDS := tests/corpus/test_builder.py tests/corpus/test_published.py

# The tests of the interface drive a Chromium; where there is none and it cannot be installed, they are skipped.
CHROMIUM = command -v chromium || command -v chromium-browser || command -v google-chrome

.PHONY: demo hub-demo test test-bounds test-oldest nightly check lint audit docs bench clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	HF_HUB_OFFLINE=1 $(BIN)/eeg-copilot demo --out demo

hub-demo: $(VENV)/.installed-test
	$(BIN)/python -m tests.hub_server.demo --run demo --out hub-demo

test: lint test-bounds $(VENV)/.browser
	$(TEST_ENV) $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

test-bounds: $(OLDEST)/.installed
	$(TEST_ENV) $(OLDEST)/bin/python -m pytest -q -m datasets_bounds $(BOUNDS)
	$(TEST_ENV) $(OLDEST)/bin/python -m pytest -q -m "not slow and not nightly" tests/hub/test_client.py \
	  tests/hub/test_users.py

test-oldest: $(OLDEST_ALL)/.installed $(VENV)/.browser
	$(TEST_ENV) $(OLDEST_ALL)/bin/python -m pytest -q -n $(WORKERS) --dist worksteal

nightly: test-oldest
	$(TEST_ENV) $(BIN)/python -m pytest -q -m nightly --timeout 1800

check: lint audit

lint: $(VENV)/.installed-test
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy

# Known weaknesses of what is installed; says so and goes on where the registry does not tell.
audit: $(VENV)/.installed-test
	@test -x .venv-audit/bin/pip-audit || { $(BIN)/python -m venv .venv-audit && .venv-audit/bin/python -m pip install \
	  --disable-pip-version-check --quiet 'pip-audit>=2.9,<3'; } >/dev/null 2>&1 || true
	@$(BIN)/python -m tests.robustness.audit --tool .venv-audit/bin/pip-audit

docs: $(VENV)/.installed-test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/.installed-test
	for file in benchmarks/bench_*.py; do $(TEST_ENV) $(BIN)/python $$file || exit 1; done

clean:
	rm -rf $(VENV) $(OLDEST) $(OLDEST_ALL) .venv-audit demo hub-demo build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info

# A stamp is written only after pip succeeded, and removed before it starts.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	rm -f $@
	$(PIP_INSTALL) --editable '.[all]'
	touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	rm -f $@
	$(PIP_INSTALL) --editable '.[all,test]'
	touch $@ $(VENV)/.installed

$(VENV)/.browser: | $(VENV)/.installed-test
	@{ $(CHROMIUM) || { test "$$(id -u)" = 0 && apt-get -qq update && apt-get -qq install --yes chromium; } || \
	  echo "no Chromium: the tests of the interface in a browser are skipped"; } > $@ 2>&1; tail -n 1 $@

$(OLDEST)/.installed: pyproject.toml constraints-oldest-corpus.txt | $(BIN)/python
	rm -rf $(OLDEST)
	$(BIN)/python -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --disable-pip-version-check --quiet --constraint constraints-oldest-corpus.txt \
	  --editable '.[corpus,hub]' pytest pytest-timeout
	touch $@

$(OLDEST_ALL)/.installed: pyproject.toml constraints-oldest.txt | $(BIN)/python
	rm -rf $(OLDEST_ALL)
	$(BIN)/python -m venv $(OLDEST_ALL)
	$(OLDEST_ALL)/bin/python -m pip install --disable-pip-version-check --quiet --constraint constraints-oldest.txt \
	  --editable '.[all,test]'
	touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "no Python 3.11, 3.12 or 3.13 found; give one with PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
