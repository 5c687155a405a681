#!/bin/sh
# Two machines of eight GPUs below torchrun (it comes with PyTorch): run this on both, with the name of the first.
#   sh torchrun.sh HEAD config.yaml
# Where a process falls, torchrun starts all of them again, and the run goes on from its last checkpoint.
set -eu
head=$1
shift
exec torchrun --no-python --nnodes "${NODES:-2}" --nproc-per-node "${GPUS:-8}" --max-restarts "${RESTARTS:-3}" \
  --rdzv-backend c10d --rdzv-endpoint "$head:${PORT:-29500}" --rdzv-id "${JOB:-visurf}" \
  "${VISURF:-visurf}" train "$@"
