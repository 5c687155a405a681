"""oracle/fixtures/quantized: bitsandbytes' numbers of 8-bit AdamW and of 4-bit weights, on the CPU.

    python oracle/quantized.py    (needs bitsandbytes 0.50.2 beside oracle/requirements.txt)

The library for CPUs finds codes by a table that is coarse around zero; GPUs, and bitsandbytes' own operators for other devices
(backends/default/ops.py), take the nearest. That is what is asked for here, within the library's own update.

Gradients and weights are formulas that the tests know, too: g(step, i) = sin(0.37 i + step) / (1 + i mod 13).
"""

import json
import pathlib

import bitsandbytes as bnb
import bitsandbytes.backends.cpu.ops as cpu
import bitsandbytes.functional as F
import torch
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).parent / "fixtures" / "quantized"
SHAPE = (65, 70)  # 4,550 elements: 17 blocks of 256, and a rest
SETTINGS = {"lr": 1e-2, "betas": [0.9, 0.99], "eps": 1e-8, "weight_decay": 0.1}
STEPS = 6


def wave(count: int, shift: float) -> torch.Tensor:
    i = torch.arange(count, dtype=torch.float64)
    return (torch.sin(0.37 * i + shift) / (1 + i % 13)).float()


def nearest(numbers: torch.Tensor, code: torch.Tensor, absmax: torch.Tensor, out: torch.Tensor, size: int) -> None:
    flat = numbers.reshape(-1)
    blocks = torch.nn.functional.pad(flat, (0, -flat.numel() % size)).view(-1, size)
    absmax.copy_(blocks.abs().amax(1))
    scaled = torch.clamp(blocks * (1.0 / absmax.clamp(min=1e-38).view(-1, 1)), -1, 1).reshape(-1)[: flat.numel()]
    out.copy_(torch.bucketize(scaled, (code[:-1] + code[1:]) / 2).view(out.shape))


cpu._quant_blockwise_fp32_direct = nearest


def main() -> None:
    OUT.mkdir(exist_ok=True)
    count = SHAPE[0] * SHAPE[1]
    parameter = torch.nn.Parameter(wave(count, 0).view(SHAPE))
    small = torch.nn.Parameter(wave(30, 0.5))
    optimizer = bnb.optim.AdamW8bit([parameter, small], **{**SETTINGS, "betas": tuple(SETTINGS["betas"])})
    for step in range(1, STEPS + 1):
        parameter.grad = wave(count, step).view(SHAPE)
        small.grad = wave(30, step)
        optimizer.step()
    state = optimizer.state[parameter]
    tensors = {
        "signed": F.create_dynamic_map(True),
        "unsigned": F.create_dynamic_map(False),
        "parameter": parameter.data,
        "small": small.data,
        "exp_avg": state["state1"],
        "exp_avg_absmax": state["absmax1"],
        "exp_avg_sq": state["state2"],
        "exp_avg_sq_absmax": state["absmax2"],
    }
    for name, shape in {"even": (48, 64), "rest": (24, 100), "odd": (5, 13)}.items():
        weight = wave(shape[0] * shape[1], 2).view(shape)
        packed, found = F.quantize_4bit(weight, blocksize=64, quant_type="nf4")
        tensors[f"{name}.packed"] = packed.reshape(-1)
        tensors[f"{name}.absmax"] = found.absmax
        tensors[f"{name}.weight"] = F.dequantize_4bit(packed, found)
        half, halves = F.quantize_4bit(weight.bfloat16(), blocksize=64, quant_type="nf4")
        tensors[f"{name}.bfloat16"] = F.dequantize_4bit(half, halves)
    save_file({name: each.detach().contiguous() for name, each in tensors.items()}, OUT / "quantized.safetensors")
    about = {"bitsandbytes": bnb.__version__, "shape": SHAPE, "steps": STEPS, **SETTINGS}
    (OUT / "about.json").write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main()
