# The two commands: `make demo` and `make test`. Everything they need is made first (scripts/setup.sh).
.PHONY: demo test contracts-test python-test test-clients soak coverage mutants lint \
	lint-types lint-contracts lint-python docs bench clean
bin := .venv/bin
# pip and Brownie keep things there
export HOME ?= $(CURDIR)/build/home
# Many images set it. Every process would then compile some 1,500 modules again: seconds, each time
unexport PYTHONDONTWRITEBYTECODE

demo: ## a paid, verified answer on a real chain, from an empty clone; keep=1 keeps it running
	@scripts/setup.sh runtime
	@$(bin)/tallystick demo $(if $(keep),--keep)

test: ## the whole suite, contract tests included
	@scripts/setup.sh dev
	@$(MAKE) --no-print-directory -j2 --output-sync contracts-test lint
	@$(MAKE) --no-print-directory python-test

lint: lint-types lint-contracts lint-python
lint-types:
	$(bin)/mypy
lint-contracts:
	$(bin)/python scripts/compile.py --check
lint-python:
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/vulture
	$(bin)/python scripts/docs.py --check

# Whole files go to processes, so that a file's fixtures are made once, in the order of
# tests/conftest.py: the slow ones first. Python tests wait a third of their time, so there is one
# process more than two cores
parallel := -n 2 --no-loadscope-reorder
processes ?= 3

# On a node: a life of each contract, and what only a node can run. The other tests of contracts run
# in process with all Python tests; `brownie test tests/contracts` runs all of them on a node.
# Each process of Brownie starts and stops an Anvil of its own. The first load after compiling deletes
# artifacts that nothing of ours needs: it must not be two processes at once
contracts-test:
	$(bin)/brownie compile
	$(bin)/brownie test tests/contracts -m "node or life" $(parallel)

python-test:
	$(bin)/python -m pytest -p no:pytest-brownie -m "not clients" \
		--dist loadfile -n $(processes) --no-loadscope-reorder

test-clients: ## what needs an environment of its own: other people's clients, viem, Helia, the wheel
	@scripts/setup.sh clients
	$(bin)/python -m pytest -p no:pytest-brownie -m clients tests/api tests/chain tests/ipfs tests/scripts \
		tests/worker/importing

soak: ## for a night: 1,000 kills, a chaos run, 20,000 differential cases, long state machines
	@scripts/setup.sh dev
	$(bin)/brownie compile
	SOAK=1 $(bin)/python -m pytest -p no:pytest-brownie -o timeout=0 --dist loadfile $(parallel) tests/contracts \
		tests/exact_evm tests/system/test_kill.py tests/system/test_kill_submitter.py \
		tests/system/test_chaos.py tests/gateway/test_payment_kills.py \
		tests/worker/exact/test_transformer.py tests/operator/test_reading_machine.py \
		tests/chain/test_sender_machine.py tests/worker/endpoint/test_fleet.py
	$(bin)/brownie test tests/contracts

coverage: ## minutes: which branches of the contracts their tests reach
	@scripts/setup.sh dev
	$(bin)/brownie compile
	$(bin)/python scripts/contract_coverage.py

mutants: ## for an evening: 240 changes of the contracts, and whether a test notices
	@scripts/setup.sh dev
	$(bin)/brownie compile
	nice $(bin)/python scripts/mutants.py

docs: ## the documentation as a site, in build/docs
	@scripts/setup.sh dev
	@NO_MKDOCS_2_WARNING=1 $(bin)/mkdocs build --strict --quiet
	@echo "build/docs/index.html"

bench:
	@scripts/setup.sh dev
	@$(bin)/python -m benchmarks

clean: ## what the two commands made, the environment included
	rm -rf .venv node_modules build .solcx
