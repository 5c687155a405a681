"""What the reference computes with checkpoints of families whose images are cut into tiles: the numbers of configurations.py,
for models without grids and positions of their own.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import pathlib
from collections.abc import Callable
from dataclasses import dataclass

import tvshim  # noqa: F401  (before transformers)
import images
import reference
import torch
from configurations import OPTIMIZERS, SAMPLES, TOKENS, WITNESSES, bfloat16_distance, thin
from PIL import Image
from safetensors.torch import save_file
from tiny_qwen2_5_vl import compact
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.models.internvl import modeling_internvl as internvl
from transformers.models.llama import modeling_llama as llama
from transformers.models.qwen2 import modeling_qwen2 as qwen2
from transformers.models.qwen3 import modeling_qwen3 as qwen3

FOLDER = pathlib.Path(__file__).parent / "fixtures" / "configurations"


@dataclass(frozen=True)
class Build:
    """What differs between families."""

    # The name here in memory of one of the reference's.
    own: Callable[[str], str]
    # The decoder.
    text: Callable
    # The processor's arguments for the pictures of one conversation.
    pictures: Callable[[list], object]
    # Values of all tiles [tiles, 3, side, side].
    tiles: Callable[[dict], torch.Tensor]
    # Features of the tiles in the processor's output.
    features: Callable
    # Names of what a model is given of them.
    given: tuple[str, ...]

    def named(self, model) -> dict[str, torch.nn.Parameter]:
        return {self.own(name): each for name, each in model.named_parameters()}

    def encode(self, processor, messages: list[dict]):
        parts = [part for message in messages if isinstance(message["content"], list) for part in message["content"]]
        pictures = [Image.open(images.FOLDER / part["image"]) for part in parts if part["type"] == "image"]
        rendered = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return rendered, processor(text=[rendered], images=self.pictures(pictures) if pictures else None, return_tensors="pt")

    def forward(self, model, inputs, response: list[int]):
        """One pass over prompt + response."""
        ids = torch.cat([inputs["input_ids"], torch.tensor([response], dtype=torch.long)], dim=1)
        vision = {key: inputs[key] for key in self.given if key in inputs}
        return model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **vision)


@contextlib.contextmanager
def true_float64():
    """Keeps float64 where the reference casts to float32 inside a float64 model: RMSNorm."""

    def norm(self, hidden):
        return self.weight * (hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))

    norms = (llama.LlamaRMSNorm, qwen2.Qwen2RMSNorm, qwen3.Qwen3RMSNorm, internvl.InternVLVisionRMSNorm)
    saved = [each.forward for each in norms]
    try:
        for each in norms:
            each.forward = norm
        yield
    finally:
        for each, forward in zip(norms, saved):
            each.forward = forward


def digest(pixels: torch.Tensor, processor) -> str:
    """sha256 of the bytes that tiles were before they were normalised, [tiles, 3, side, side]."""
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (processor.image_processor.image_mean, processor.image_processor.image_std))
    values = pixels.double() * std + mean
    return hashlib.sha256((values * 255).round().to(torch.uint8).numpy().tobytes()).hexdigest()


def hidden_states(build: Build, model, inputs, tokens: list[int]) -> dict[str, torch.Tensor]:
    taken: dict[str, torch.Tensor] = {}
    keep = lambda key: lambda _m, _a, out: taken.__setitem__(key, out[0] if isinstance(out, tuple) else out)  # noqa: E731
    hooks = [layer.register_forward_hook(keep(f"layers.{i}")) for i, layer in enumerate(build.text(model).layers)]
    with torch.no_grad():
        build.forward(model, inputs, tokens)
        for hook in hooks:
            hook.remove()
        if "pixel_values" in inputs:
            taken["imageFeatures"] = torch.cat(list(build.features(model, inputs)))
    return {key: value.reshape(-1, value.shape[-1]).contiguous() for key, value in taken.items()}


def tile_counts(build: Build, processor, messages: list[dict]):
    """Tiles of every image, from one at a time."""
    for message in messages:
        for part in message["content"]:
            if part["type"] == "image":
                yield build.tiles(build.encode(processor, [{"role": "user", "content": [part]}])[1]).shape[0]


def record(build: Build, name: str, messages: list[dict], members: list[dict], models: dict, processor) -> tuple[dict, dict, dict]:
    rendered, inputs = build.encode(processor, messages)
    prompt = inputs["input_ids"][0].tolist()
    entry: dict = {"messages": messages, "rendered": rendered, "inputIds": prompt, "imageGridThw": [], "videoGridThw": []}
    entry["positionIds"] = [list(range(len(prompt)))] * 3
    tensors: dict[str, torch.Tensor] = {}
    if "pixel_values" in inputs:
        tiles = build.tiles(inputs)
        patch = models["float32"].config.vision_config.patch_size
        side = tiles.shape[-1] // (patch if isinstance(patch, int) else patch[0])
        counts = list(tile_counts(build, processor, messages))
        assert sum(counts) == tiles.shape[0]
        entry["imageGridThw"] = [[count, side, side] for count in counts]
        entry["imagePixelsSha256"] = digest(tiles, processor)
        tensors["imagePixels"] = thin(tiles, 512)
    entry["responses"] = []
    for index, member in enumerate(members):
        tokens = member["tokens"]
        with torch.no_grad():
            out = build.forward(models["float32"], inputs, tokens)
            half = build.forward(models["bfloat16"], inputs, tokens)
            with true_float64():
                exact = build.forward(models["float64"], inputs, tokens)
        if index == 0:
            tensors["logits"] = out.logits[0, -len(tokens) - 1 : -1].clone()
        score = lambda result: reference.response_log_probs(result.logits.double(), tokens).tolist()  # noqa: E731
        entry["responses"].append(
            member | {"logProbs": score(out), "logProbs64": score(exact), "logProbsBfloat16": score(half)}
        )
    tensors |= hidden_states(build, models["float32"], inputs, members[0]["tokens"])
    entry["greedy"] = {}
    for penalty in (1.0, 1.3):
        tokens, lead = reference.greedy(models["float32"], inputs, TOKENS, penalty)
        entry["greedy"][str(penalty)] = {"tokens": tokens, "lead": lead}
    print(f"  {name}: {len(prompt)} tokens, leads {[round(g['lead'], 3) for g in entry['greedy'].values()]}", flush=True)
    return entry, {f"{name}.{key}": value.contiguous() for key, value in tensors.items()}, {"inputs": inputs, "members": members}


def objective(build: Build, model, batch: list[dict]) -> torch.Tensor:
    """sum over cases and responses of weight * sum_t log pi(token_t)"""
    terms = []
    for each in batch:
        for member in each["members"]:
            out = build.forward(model, each["inputs"], member["tokens"])
            terms.append(member["weight"] * reference.response_log_probs(out.logits, member["tokens"]).sum())
    return torch.stack(terms).sum()


def gradients(build: Build, model, batch: list[dict]) -> tuple[dict, dict]:
    model.zero_grad()
    loss = objective(build, model, batch)
    loss.backward()
    grads = {key: torch.zeros_like(p) if p.grad is None else p.grad for key, p in build.named(model).items()}
    summary = {
        "loss": float(loss),
        "norms": {key: float(grad.norm()) for key, grad in grads.items()},
        "largest": {key: float(grad.abs().max()) for key, grad in grads.items()},
    }
    return summary, {f"gradient.{key}": thin(grad, SAMPLES) for key, grad in grads.items()}


def steps(build: Build, model, batch: list[dict], optimizer: torch.optim.Optimizer, count: int) -> dict:
    before = {key: parameter.detach().clone() for key, parameter in build.named(model).items()}
    losses = []
    for _ in range(count):
        optimizer.zero_grad()
        loss = objective(build, model, batch)
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    after = {
        key: {"moved": float((p.detach() - before[key]).norm()), "samples": thin(p.detach(), WITNESSES).tolist()}
        for key, p in build.named(model).items()
    }
    return {"losses": losses, "parameters": after}


def make(build: Build, name: str, layout: str, conversations: dict[str, list[dict]], responses: Callable) -> None:
    """What the reference computes with the checkpoint in `fixtures/configurations/<name>/model`."""
    folder = FOLDER / name / "model"
    load = lambda kind: AutoModelForImageTextToText.from_pretrained(folder, dtype=kind).eval()  # noqa: E731
    models = {"float32": load(torch.float32), "bfloat16": load(torch.bfloat16)}
    models["float64"] = reference.to_float64(models["float32"])
    processor = AutoProcessor.from_pretrained(folder)
    entries, tensors, batch = {}, {}, []
    for case, messages in conversations.items():
        entries[case], added, inputs = record(build, case, messages, responses(processor.tokenizer, case), models, processor)
        tensors |= added
        batch.append(inputs)
    with true_float64():
        summary, samples = gradients(build, models["float64"], batch)
        updates = {}
        for kind, (settings, count, optimizer) in OPTIMIZERS.items():
            copied = copy.deepcopy(models["float64"])
            updates[kind] = {"settings": settings} | steps(build, copied, batch, optimizer(copied.parameters(), **settings), count)
    expected = {
        "layout": layout,
        "eosIds": models["float32"].generation_config.eos_token_id,
        "cases": entries,
        "gradient": summary,
        "updates": updates,
        "bfloat16": bfloat16_distance(entries),
    }
    (FOLDER / name / "expected.json").write_text(compact(expected) + "\n")
    save_file(tensors | samples, FOLDER / name / "expected.safetensors")
    (FOLDER / name / "expected.safetensors").chmod(0o644)
