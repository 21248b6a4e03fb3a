#!/usr/bin/env bash
# Makes build/clients: other people's clients that the REST tests run unchanged. Their pins do not
# agree with ours (tritonclient's ml_dtypes, schemathesis' hypothesis), so they live by themselves.
set -euo pipefail
cd "$(dirname "$0")/.."
pins=requirements-clients.txt
stamp=build/clients/.stamp
[ -f "$stamp" ] && cmp -s "$stamp" "$pins" && exit
[ -x build/clients/bin/pip ] || "${PYTHON:-python3}" -m venv build/clients
build/clients/bin/pip install -qq --disable-pip-version-check -r "$pins"
cp "$pins" "$stamp"
