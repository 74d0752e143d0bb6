#!/bin/sh
# The built wheel, in a fresh environment that knows nothing of this checkout: doctor and the demo.
# usage: wheel.sh PYTHON DIRECTORY
set -eu
python=$1
mkdir -p "$2"
place=$(cd "$2" && pwd)
here=$(cd "$(dirname "$0")/.." && pwd)
rm -rf "$place/dist" "$place/venv" "$place/home"
"$python" -m build --wheel --no-isolation --outdir "$place/dist" "$here" > "$place/build.log" 2>&1 \
  || { cat "$place/build.log"; exit 1; }
"$python" -m venv "$place/venv"
PIP_DISABLE_PIP_VERSION_CHECK=1 "$place/venv/bin/python" -m pip install --quiet \
  --require-hashes -r "$here/requirements/demo.txt"
PIP_DISABLE_PIP_VERSION_CHECK=1 "$place/venv/bin/python" -m pip install --quiet \
  --no-deps "$place"/dist/rampway-*.whl
cd "$place"
"$place/venv/bin/python" -Ic "import workflows.release, workers.main, rampway.gateway.main"
"$place/venv/bin/rampway" doctor --installation
"$place/venv/bin/rampway" --home "$place/home" demo
