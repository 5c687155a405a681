"""Makes fixtures/tiny-qwen2_5-vl/updates.json: several optimiser steps on one batch of groups, in plain PyTorch.

    oracle/run.sh updates.py        (after tiny_qwen2_5_vl.py)

The batch is the four cases of cases.json, each with its three responses as a group (label, two rollouts) and fixed
rewards. Every update computes ViSurf's loss (formulas in objective.py) response by response, each with its own full
prompt, clips the gradient's norm and steps. Old and reference log-probabilities are those of the first policy. Float64.
"""

from __future__ import annotations

import json

import checkpoint  # noqa: F401  (shim)
import images
import objective
import reference
import torch
from PIL import Image
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from tiny_qwen2_5_vl import FOLDER, compact, named

REWARDS = {
    "one-image": [3.5, 1.0, 0.5],
    "two-images": [1.5, 4.5, 1.5],
    "text-only": [2.0, 2.0, 2.0],
    "small-image": [0.0, 3.0, 2.5],
}
SETTINGS = {
    "withLabels": True,
    "std": "sample",
    "ratio": "token",
    "clip": {"low": 0.2, "high": 0.2},
    "kl": {"coefficient": 0.05, "labels": False},
    "aggregate": {"tokens": "sum", "over": "sequence", "normalizer": 18},
}
OPTIMIZERS = {
    "adamw": {"learningRate": 5e-5, "betas": [0.9, 0.99], "weightDecay": 0.01},
    "sgd": {"learningRate": 2e-3},
}
CLIP_NORM = 1.0
UPDATES = 4
SAMPLES = 8


def load():
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(FOLDER / "model", dtype=torch.float32).eval()
    return reference.to_float64(model)


def batch(processor) -> list[dict]:
    cases = json.loads((FOLDER / "cases.json").read_text())
    prompts = []
    for name, case in cases.items():
        pictures = [Image.open(images.FOLDER / file) for file in case["images"]]
        _, inputs = reference.encode(processor, case["messages"], pictures)
        kinds = ["label", "rollout", "rollout"]
        members = [
            {"kind": kind, "reward": reward, "tokens": response["tokens"]}
            for kind, reward, response in zip(kinds, REWARDS[name], case["responses"], strict=True)
        ]
        prompts.append({"name": name, "inputs": inputs, "members": members})
    return prompts


def log_probs(model, prompt: dict, member: dict) -> torch.Tensor:
    out, _ = reference.forward(model, prompt["inputs"], member["tokens"])
    return reference.response_log_probs(out.logits, member["tokens"])


def make_optimizer(name: str, model):
    settings = OPTIMIZERS[name]
    if name == "sgd":
        return torch.optim.SGD(model.parameters(), lr=settings["learningRate"])
    return torch.optim.AdamW(
        model.parameters(),
        lr=settings["learningRate"],
        betas=tuple(settings["betas"]),
        eps=1e-8,
        weight_decay=settings["weightDecay"],
    )


def update(model, optimizer, prompts: list[dict]) -> dict:
    """One step; old and reference log-probabilities are those of the first call."""
    optimizer.zero_grad()
    current = [[log_probs(model, prompt, member) for member in prompt["members"]] for prompt in prompts]
    groups = []
    for prompt, rows in zip(prompts, current):
        for member, row in zip(prompt["members"], rows):
            member.setdefault("old", row.detach().tolist())
            member.setdefault("reference", member["old"])
        groups.append([member | {"current": row.tolist()} for member, row in zip(prompt["members"], rows)])
    # d loss / d log pi by the formulas of objective.py, then one backward through the model.
    result = objective.evaluate(groups, SETTINGS)
    flat = [row for rows in current for row in rows]
    weights = [torch.tensor(c, dtype=torch.float64) for rows in result["coefficients"] for c in rows]
    sum((row * weight).sum() for row, weight in zip(flat, weights)).backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
    optimizer.step()
    ratios = [c - o for group in groups for m in group for c, o in zip(m["current"], m["old"])]
    return {
        "loss": result["loss"],
        "gradientNorm": float(norm),
        "largestLogRatio": max(abs(r) for r in ratios),
        "totals": [[sum(m["current"]) for m in group] for group in groups],
    }


def samples(parameter: torch.Tensor) -> list[float]:
    flat = parameter.detach().flatten()
    return flat[:: max(1, flat.numel() // SAMPLES)][:SAMPLES].tolist()


def run(name: str, prompts: list[dict]) -> dict:
    model = load()
    before = {key: parameter.detach().clone() for key, parameter in named(model).items()}
    optimizer = make_optimizer(name, model)
    with reference.true_float64():
        updates = [update(model, optimizer, prompts) for _ in range(UPDATES)]
    print(name, [(round(u["loss"], 5), round(u["gradientNorm"], 3), round(u["largestLogRatio"], 3)) for u in updates])
    after = {
        key: {"moved": float((parameter.detach() - before[key]).norm()), "samples": samples(parameter)}
        for key, parameter in named(model).items()
    }
    return {"settings": OPTIMIZERS[name], "updates": updates, "parameters": after}


def main() -> None:
    torch.set_num_threads(1)
    processor = AutoProcessor.from_pretrained(FOLDER / "model")
    prompts = batch(processor)
    content = {
        "rewards": REWARDS,
        "objective": SETTINGS,
        "clipNorm": CLIP_NORM,
        "optimizers": {name: run(name, prompts) for name in OPTIMIZERS},
    }
    (FOLDER / "updates.json").write_text(compact(content) + "\n")


if __name__ == "__main__":
    main()
