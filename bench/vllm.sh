#!/usr/bin/env bash
# Python with vLLM's CPU build (requirements-vllm.txt), in a private environment that is made on first use:
#   bench/vllm.sh SCRIPT [ARGUMENT]...
# It pins other versions of transformers than oracle/ does, so it has an environment of its own. VLLM_VENV names
# another one that already has the packages.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/private.sh"

# Their wheels ask for a CUDA build of torch and do not load beside another; vLLM needs them for sound and video only.
# Of torchvision's it needs the Python part (vllm-site, oracle/tvshim.py).
without() { "${pip[@]}" uninstall --yes torchaudio torchcodec; }
private vllm VLLM_VENV 6000 "vLLM's CPU build" without

# OpenMP as vLLM sets it for its workers; in place of its guide's allocator the driver sets glibc's (comparisons.ts).
export LD_PRELOAD="$venv/lib/libiomp5.so" KMP_BLOCKTIME=5 KMP_TPAUSE=0

# What it compiles for a model is kept, so that only the first start takes long.
export VLLM_CACHE_ROOT="$venv/cache" TORCHINDUCTOR_CACHE_DIR="$venv/cache/inductor"
export PYTHONPATH="$here/vllm-site" PYTHONDONTWRITEBYTECODE=1 TOKENIZERS_PARALLELISM=false
export HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1
exec "$venv/bin/python" "$@"
