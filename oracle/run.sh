#!/usr/bin/env bash
# Rebuilds fixtures and checks exports: with all scripts, or with those that are named.
#   oracle/run.sh [SCRIPT]...
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# One thread: the last bits of a sum depend on how it is split.
export OMP_NUM_THREADS=1
if [ $# -eq 0 ]; then
  set -- tiny_qwen2_5_vl.py configurations.py qwen3_5.py mutants.py sizes.py smolvlm.py smolvlm_mutants.py smolvlm_sizes.py internvl.py internvl_mutants.py corpus.py formats.py peft_adapter.py updates.py objective.py mathematics.py benchmarks.py rewards.py sam2.py check_export.py check_variations.py
fi
for script in "$@"; do
  echo "oracle: $script" >&2
  "$here/python.sh" "$here/$script"
done
