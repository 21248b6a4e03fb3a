#!/usr/bin/env bash
# Makes `brownie` work in this repository: puts the pinned compiler under the name that py-solc-x
# looks for (.solcx/solc-v0.8.30: a native one when there is one, else npm's WebAssembly build),
# and the command of scripts/brownie in front of Brownie's own in .venv/bin.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
version=0.8.30
mkdir -p "$root/.solcx" "$root/build/brownie" # Brownie makes no parent folders
target="$root/.solcx/solc-v$version"
native="$HOME/.solcx/solc-v$version"
if [ -x "$native" ] && "$native" --version >/dev/null 2>&1; then
  ln -sf "$native" "$target"
else
  printf '#!/bin/sh\nexec node "%s/scripts/solc/solc.js" "%s/node_modules/solc" "$@"\n' "$root" "$root" >"$target.new"
  chmod +x "$target.new"
  mv "$target.new" "$target"
fi
printf '#!%s\nimport runpy\n\nrunpy.run_path("%s/scripts/brownie", run_name="__main__")\n' \
  "$root/.venv/bin/python" "$root" >"$root/.venv/bin/brownie"
chmod +x "$root/.venv/bin/brownie"
