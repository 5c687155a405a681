#!/usr/bin/env bash
# clang-format over the native sources, in the one version that everybody uses (releases format differently).
set -euo pipefail
cd "$(dirname "$0")/.."

version=23.1.5
venv=.tools/clang-format
program=$venv/bin/clang-format

if [ "$("$program" --version 2>/dev/null | grep -o "$version")" != "$version" ]; then
  echo "clang-format $version (download: about 2 MB)" >&2
  if ! { python3 -m venv --clear "$venv" && "$venv/bin/python" -m pip install --quiet "clang-format==$version"; }; then
    echo 'clang-format could not be installed (see above): the native sources are not checked' >&2
    exit 0
  fi
fi
"$program" "$@" packages/torch/native/{,kernels/}*.{cc,h} packages/torch/signals/*.cc
