#!/usr/bin/env bash
# Python with the reference packages (requirements.txt), in a private environment that is made on first use:
#   oracle/python.sh SCRIPT [ARGUMENT]...
# ORACLE_VENV names another environment that already has the packages.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
venv="${ORACLE_VENV:-$here/../.tools/oracle-venv}"
stamp="$venv/.requirements.txt"

if [ -z "${ORACLE_VENV:-}" ] && ! cmp -s "$here/requirements.txt" "$stamp"; then
  echo "oracle: installing the reference packages into $(realpath -m "$venv") (about 1.5 GB with a CPU build of torch)" >&2
  python3 -m venv "$venv"
  pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check)
  "${pip[@]}" -r "$here/requirements.txt"
  # torchvision's wheel asks for a CUDA build of torch; tvshim.py makes its Python part work with any.
  "${pip[@]}" --no-deps torchvision==0.28.0
  cp "$here/requirements.txt" "$stamp"
fi

export PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
exec "$venv/bin/python" "$@"
