#!/usr/bin/env bash
# Python with SGLang (requirements-sglang.txt), in a private environment that is made on first use:
#   bench/sglang.sh SCRIPT [ARGUMENT]...
# Its wheel asks for CUDA's packages, so it is installed without what it asks for; in place of its kernels for CPUs, of
# which PyPI has no build, sglang-site has the few that are called. SGLANG_VENV names an environment that has it all.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/private.sh"

alone() { # lines `# alone: PACKAGE` of the file
  sed -n 's/^# alone: //p' "$here/requirements-sglang.txt" | xargs "${pip[@]}" install --no-deps
}
private sglang SGLANG_VENV 5000 SGLang alone

export SGLANG_USE_CPU_ENGINE=1 PYTHONPATH="$here/sglang-site" PYTHONDONTWRITEBYTECODE=1 TOKENIZERS_PARALLELISM=false
export HF_HUB_OFFLINE=1
exec "$venv/bin/python" "$@"
