#!/usr/bin/env bash
# Makes build/clients: other people's clients that the REST tests run unchanged. Their pins do not
# agree with ours (tritonclient's ml_dtypes, schemathesis' hypothesis), so they live by themselves.
# And build/tensorflow (1.6 GB) and build/spark (0.5 GB), whose models owners publish:
# docs/importing.md. Spark is a folder of packages, which our own Python reads.
set -euo pipefail
cd "$(dirname "$0")/.."
for name in clients tensorflow; do
  pins=requirements-$name.txt stamp=build/$name/.stamp
  [ -f "$stamp" ] && cmp -s "$stamp" "$pins" && continue
  [ -x "build/$name/bin/pip" ] || "${PYTHON:-python3}" -m venv "build/$name"
  "build/$name/bin/pip" install -qq --disable-pip-version-check -r "$pins"
  cp "$pins" "$stamp"
done
pins=requirements-spark.txt stamp=build/spark/.stamp
if ! { [ -f "$stamp" ] && cmp -s "$stamp" "$pins"; }; then
  rm -rf build/spark
  build/clients/bin/pip install -qq --disable-pip-version-check --no-deps --target build/spark -r "$pins"
  cp "$pins" "$stamp"
fi
