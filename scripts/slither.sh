#!/usr/bin/env bash
# Run slither on contracts/ as docs/slither.md has it; arguments are handed on to slither.
#
# Works in build/slither: slither's own environment (its packages conflict with Brownie's), and a
# Foundry project over our sources, because slither does not read the Brownie folder.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=$root/build/slither
mkdir -p "$work"
cd "$work"
ln -sfn "$root/contracts" contracts
ln -sfn "$root/node_modules" node_modules
cat > foundry.toml <<TOML
[profile.default]
src = "contracts"
out = "out"
libs = ["node_modules"]
allow_paths = ["$root"]
remappings = ["@openzeppelin/contracts=node_modules/@openzeppelin/contracts"]
solc = "$root/.solcx/solc-v0.8.30"
evm_version = "prague"
optimizer = true
optimizer_runs = 800
bytecode_hash = "none"
TOML
if [ ! -x venv/bin/slither ]; then
    python3 -m venv venv
    venv/bin/pip install --quiet slither-analyzer==0.11.6
fi
for forge in "$root"/node_modules/@foundry-rs/forge-*/bin; do
    PATH=$PATH:$forge # a Foundry on PATH comes first
done
forge build --offline --build-info --force > build.log 2>&1 || { cat build.log; exit 1; }
exec venv/bin/slither . --ignore-compile --exclude-informational \
    --filter-paths "node_modules|contracts/mocks" "$@"
