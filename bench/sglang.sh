#!/usr/bin/env bash
# Python with SGLang (requirements-sglang.txt), in a private environment that is made on first use:
#   bench/sglang.sh SCRIPT [ARGUMENT]...
# Its wheel asks for CUDA's packages, so it is installed without what it asks for; in place of its kernels for CPUs, of
# which PyPI has no build, sglang-site has the few that are called. SGLANG_VENV names an environment that has it all.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
venv="${SGLANG_VENV:-$here/../.tools/sglang-venv}"
stamp="$venv/.requirements.txt"
# Megabytes: what the packages take, and what pip unpacks on the way.
needed=5000

if [ -z "${SGLANG_VENV:-}" ] && ! cmp -s "$here/requirements-sglang.txt" "$stamp"; then
  free="$(df -Pm "$here" | awk 'NR == 2 { print $4 }')"
  if [ "$free" -lt "$needed" ]; then
    echo "sglang: needs $needed MB of free disk to install, here are $free" >&2
    exit 1
  fi
  echo "sglang: installing SGLang into $(realpath -m "$venv") (about 3 GB)" >&2
  python3 -m venv "$(realpath -m "$venv")" # refuses a link
  pip=("$venv/bin/python" -m pip --quiet --disable-pip-version-check)
  "${pip[@]}" install -r "$here/requirements-sglang.txt"
  # Lines `# alone: PACKAGE` of the file.
  sed -n 's/^# alone: //p' "$here/requirements-sglang.txt" | xargs "${pip[@]}" install --no-deps
  cp "$here/requirements-sglang.txt" "$stamp"
fi

export SGLANG_USE_CPU_ENGINE=1 PYTHONPATH="$here/sglang-site" PYTHONDONTWRITEBYTECODE=1 TOKENIZERS_PARALLELISM=false
export HF_HUB_OFFLINE=1
exec "$venv/bin/python" "$@"
