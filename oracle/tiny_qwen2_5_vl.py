"""Makes fixtures/tiny-qwen2_5-vl: a random Qwen2.5-VL checkpoint and what the reference computes with it.

    oracle/run.sh tiny_qwen2_5_vl.py

README.md in this folder describes the files.
"""

from __future__ import annotations

import json
import pathlib

import checkpoint
import images
import reference
import torch
from PIL import Image
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).parent / "fixtures" / "tiny-qwen2_5-vl"

TEXT = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 112,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
}
VISION = {
    "hidden_size": 32,
    "depth": 3,
    "num_heads": 4,
    "intermediate_size": 72,
    "window_size": 112,
    "fullatt_block_indexes": [1],
    "out_hidden_size": 64,
}
MIN_PIXELS, MAX_PIXELS = 56 * 56, 32 * 28 * 28

# Gradients are kept as at most this many elements of a tensor, at flat indices 0, s, 2s, .. (s as in `stride`).
GRADIENT_SAMPLES = 256


def text_part(text: str) -> dict:
    return {"type": "text", "text": text}


def image_part(path: str) -> dict:
    return {"type": "image", "image": path}


def cases() -> dict:
    """Name -> messages in Hugging Face's form; images by file name."""
    large = images.draw("wide-340x270", 340, 270, seed=1)
    tall = images.draw("tall-70x98", 70, 98, seed=2)
    flat = images.draw("flat-90x60", 90, 60, seed=3)
    small = images.draw("small-40x40", 40, 40, seed=4)
    return {
        # Over max_pixels: scaled down; 6 x 5 merged patches, windows of 4 x 4 do not divide it.
        "one-image": [
            {"role": "user", "content": [image_part(large), text_part("find the red circle")]},
        ],
        # 98 and 70 pixels are 3.5 and 2.5 units of 28: rounded half to even, to 4 and 2.
        "two-images": [
            {"role": "system", "content": "Please find."},
            {
                "role": "user",
                "content": [image_part(tall), text_part("and the other:"), image_part(flat), text_part("where is it?")],
            },
        ],
        "text-only": [
            {"role": "user", "content": [text_part("where is the blue square")]},
            {"role": "assistant", "content": "think"},
            {"role": "user", "content": [text_part("Ça, nai\u0308ve 漢字 42?")]},
        ],
        # Under min_pixels: scaled up to 56 x 56.
        "small-image": [
            {"role": "user", "content": [text_part("red"), image_part(small)]},
        ],
    }


def responses(tokenizer, name: str) -> list[dict]:
    """A label, a rollout with a thought, and one that was cut off: unequal lengths. Weights for the group's gradient."""
    ids = lambda text: tokenizer(text)["input_ids"]  # noqa: E731
    generator = torch.Generator().manual_seed(len(name))
    return [
        {"tokens": ids("<answer>[]</answer><|im_end|>"), "weight": 1.5},
        {"tokens": ids('<think> red</think><answer>[{"bbox_2d":[10,20]}]</answer><|im_end|>'), "weight": -0.75},
        {"tokens": torch.randint(0, 320, (7,), generator=generator).tolist(), "weight": 0.25},
    ]


def stride(count: int) -> int:
    """Odd, so that samples do not stay in a few columns of a matrix whose width is even."""
    step = -(-count // GRADIENT_SAMPLES)
    return step if step == 1 else step | 1


def gradients(model, inputs, members: list[dict]) -> dict[str, torch.Tensor]:
    """d / d parameter of sum_j weight_j sum_t log pi(token_t of response j), each response with its own full prompt."""
    model.zero_grad()
    for member in members:
        out, _ = reference.forward(model, inputs, member["tokens"])
        (member["weight"] * reference.response_log_probs(out.logits, member["tokens"]).sum()).backward()
    return {key: torch.zeros_like(p) if p.grad is None else p.grad.clone() for key, p in named(model).items()}


def named(model) -> dict[str, torch.nn.Parameter]:
    """Parameters by their key in the file: `model.language_model.x` is `model.x`, `model.visual.x` is `visual.x`."""
    short = lambda key: key.replace("model.language_model.", "model.").replace("model.visual.", "visual.")  # noqa: E731
    return {short(key): parameter for key, parameter in model.named_parameters()}


def hidden_states(model, inputs, tokens: list[int]) -> dict[str, torch.Tensor]:
    """Residual stream after the embedding, every decoder layer and the final norm; the vision tower's blocks (in
    window order), and its features after the merger (in image order)."""
    taken: dict[str, torch.Tensor] = {}

    def keep(key: str):
        return lambda _module, _args, out: taken.__setitem__(key, out[0] if isinstance(out, tuple) else out)

    text, vision = model.model.language_model, model.model.visual
    hooks = [layer.register_forward_hook(keep(f"layers.{i}")) for i, layer in enumerate(text.layers)]
    hooks += [block.register_forward_hook(keep(f"vision.blocks.{i}")) for i, block in enumerate(vision.blocks)]
    hooks.append(text.norm.register_forward_hook(keep("norm")))
    hooks.append(vision.patch_embed.register_forward_hook(keep("vision.patch_embed")))
    pixels = inputs.get("pixel_values")
    with torch.no_grad():
        reference.forward(model, inputs, tokens)
        for hook in hooks:
            hook.remove()
        if pixels is not None:
            features = model.model.get_image_features(pixels, inputs["image_grid_thw"])
            taken["vision.features"] = torch.cat(list(features.pooler_output))
    return {key: value.reshape(-1, value.shape[-1]).contiguous() for key, value in taken.items()}


def record(name: str, messages: list[dict], model, model64, processor):
    """The JSON entry and the tensors of one case."""
    parts = [part for message in messages if isinstance(message["content"], list) for part in message["content"]]
    files = [part["image"] for part in parts if "image" in part]
    rendered, inputs = reference.encode(processor, messages, [Image.open(images.FOLDER / file) for file in files])
    prompt_ids = inputs["input_ids"][0].tolist()
    tensors: dict[str, torch.Tensor] = {}
    if "pixel_values" in inputs:
        tensors["pixel_values"] = inputs["pixel_values"]
    members = responses(processor.tokenizer, name)
    entries = []
    for index, member in enumerate(members):
        tokens = member["tokens"]
        with torch.no_grad():
            out, positions = reference.forward(model, inputs, tokens)
            with reference.true_float64():
                exact, _ = reference.forward(model64, inputs, tokens)
        tensors[f"responses.{index}.logits"] = out.logits[0, -len(tokens) - 1 : -1].clone()
        entries.append(
            {
                **member,
                "positionIds": positions[:, len(prompt_ids) :].tolist(),
                "logProbs": reference.response_log_probs(out.logits, tokens).tolist(),
                "logProbs64": reference.response_log_probs(exact.logits, tokens).tolist(),
            }
        )
    tensors |= {f"hidden.{key}": value for key, value in hidden_states(model, inputs, members[0]["tokens"]).items()}
    with reference.true_float64():
        single = gradients(model64, inputs, [members[1] | {"weight": 1.0}])
        group = gradients(model64, inputs, members)
    norms = {}
    for kind, grads in (("single", single), ("group", group)):
        norms[kind] = {key: float(grad.norm()) for key, grad in grads.items()}
        for key, grad in grads.items():
            if norms[kind][key] > 0:
                tensors[f"gradient.{kind}.{key}"] = grad.flatten()[:: stride(grad.numel())].clone()
    tokens, lead = reference.greedy(model, inputs, 12, 1.0)
    penalised, penalised_lead = reference.greedy(model, inputs, 12, 1.05)
    print(f"{name}: {len(prompt_ids)} tokens, greedy leads {lead:.3f} {penalised_lead:.3f}", flush=True)
    entry = {
        "images": files,
        "messages": messages,
        "rendered": rendered,
        "inputIds": prompt_ids,
        "imageGridThw": inputs["image_grid_thw"].tolist() if files else [],
        "positionIds": positions[:, : len(prompt_ids)].tolist(),
        "responses": entries,
        "gradientNorms": norms,
        "greedy": {
            "repetitionPenalty1": {"tokens": tokens, "lead": lead},
            "repetitionPenalty1.05": {"tokens": penalised, "lead": penalised_lead},
        },
    }
    return entry, {f"{name}.{key}": value for key, value in tensors.items()}


def compact(value, indent: int = 0) -> str:
    """JSON with one line per list of scalars."""
    pad = " " * (indent + 1)
    if isinstance(value, dict) and value:
        rows = [f"{pad}{json.dumps(k, ensure_ascii=False)}: {compact(v, indent + 1)}" for k, v in value.items()]
        return "{\n" + ",\n".join(rows) + "\n" + " " * indent + "}"
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        rows = [f"{pad}{compact(item, indent + 1)}" for item in value]
        return "[\n" + ",\n".join(rows) + "\n" + " " * indent + "]"
    return json.dumps(value, ensure_ascii=False)


def main() -> None:
    torch.set_num_threads(1)
    tokenizer = checkpoint.make_tokenizer()
    processor = checkpoint.make_processor(tokenizer, MIN_PIXELS, MAX_PIXELS)
    model = checkpoint.make_model(checkpoint.make_config(tokenizer, TEXT, VISION), seed=20)
    checkpoint.save(FOLDER / "model", model, processor)
    model64 = reference.to_float64(model)
    entries, tensors = {}, {}
    for name, messages in cases().items():
        entries[name], added = record(name, messages, model, model64, processor)
        tensors |= added
    (FOLDER / "cases.json").write_text(compact(entries) + "\n")
    save_file(tensors, FOLDER / "cases.safetensors")
    (FOLDER / "cases.safetensors").chmod(0o644)


if __name__ == "__main__":
    main()
