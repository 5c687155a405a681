"""packages/core/src/testing/cuda-operators.json: whether CUDA has the operators that a step of training asks for.

    node packages/core/scripts/operators.ts | python oracle/cuda_operators.py > packages/core/src/testing/cuda-operators.json

Reads names from standard input and looks them up in the dispatch tables of this Python's torch, which must be a CUDA build
(no GPU is needed). `CUDA`: a kernel of its own; `composite`: libtorch composes it of others, which are listed as kernels of
their own where a step comes down to them; `ours`: a kernel or a chain of this repository; `none`: neither.
"""

import json
import sys

import torch

KEYS = ["CompositeImplicitAutograd", "CompositeExplicitAutograd", "CompositeExplicitAutogradNonFunctional"]


def place(name: str) -> str:
    if name.startswith("visurf::"):
        return "ours"
    full = name if "::" in name else f"aten::{name}"
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    if has(full, "CUDA"):
        return "CUDA"
    return "composite" if any(has(full, key) for key in KEYS) else "none"


def main() -> None:
    if torch.version.cuda is None:
        sys.exit(f"torch {torch.__version__} is no CUDA build: its dispatch tables do not know CUDA")
    names = sorted({line.strip().removeprefix("aten::") for line in sys.stdin} - {""})
    table = {"torch": torch.__version__, "operators": {name: place(name) for name in names}}
    print(json.dumps(table, indent=2))


if __name__ == "__main__":
    main()
