"""In place of SGLang's kernels for CPUs, of which PyPI has no build: what the server asks for on a CPU, in torch.

Only what is called for the model of the check is here; what else is imported fails when it is called.
"""

import torch

# Looked up when the modules of other models are imported.
_library = torch.library.Library("sgl_kernel", "DEF")
for _name in (
    "fused_qk_gemma_rmsnorm_cpu",
    "fused_qk_gemma_rmsnorm_with_gate_cpu",
    "fused_qkvzba_split_reshape_cat_contiguous_cpu",
    "fused_sigmoid_mul_cpu",
):
    _library.define(f"{_name}(Tensor a) -> Tensor")


def assign_req_to_token_pool_cpu(rows, table, starts, ends, places, length):
    """Writes where each request's new tokens are: places, one request after the other, into columns start..end of its row."""
    at = 0
    for row, start, end in zip(rows.tolist(), starts.tolist(), ends.tolist()):
        table[row, start:end] = places[at : at + end - start].to(table.dtype)
        at += end - start


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)

    def missing(*_args, **_kwargs):
        raise NotImplementedError(f"sgl_kernel.{name}")

    return missing


def _unpinned(make):
    def made(*args, pin_memory=False, **options):
        return make(*args, **options)

    return made


# Without a device there is no pinned memory, which adapters are asked for in all the same.
for _name in ("arange", "empty", "tensor", "zeros"):
    setattr(torch, _name, _unpinned(getattr(torch, _name)))
torch.Tensor.pin_memory = lambda self, *_args: self
