"""Makes fixtures/tiny-qwen2_5-vl/adapters: random LoRA adapters as PEFT writes them, and what the model computes with them.

    oracle/run.sh peft_adapter.py

Needs what tiny_qwen2_5_vl.py made. README.md in this folder describes the files.
"""

from __future__ import annotations

import json
import pathlib

import reference
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from safetensors.torch import save_file
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

import images

FOLDER = pathlib.Path(__file__).parent / "fixtures" / "tiny-qwen2_5-vl"

ADAPTERS = {
    "language": LoraConfig(r=4, lora_alpha=8, lora_dropout=0.1, target_modules=["q_proj", "v_proj"]),
    # Both towers by a regular expression, and alpha / sqrt(r).
    "vision": LoraConfig(r=2, lora_alpha=3, use_rslora=True, target_modules=r".*\.(qkv|o_proj|down_proj)"),
}


def inputs_of(processor, case: dict):
    pictures = [Image.open(images.FOLDER / file) for file in case["images"]]
    return reference.encode(processor, case["messages"], pictures)[1]


@torch.no_grad()
def spread(model, seed: int) -> None:
    """A as it begins, B so that the adapter moves logits by about their own size."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        if "lora_" in name:
            scale = 0.5 if "lora_B" in name else 1.0
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator) / parameter.shape[1] ** 0.5)


def file_key(name: str) -> str:
    return name.replace(".default.", ".")


def record(name: str, config: LoraConfig, cases: dict, processor, seed: int) -> None:
    base = Qwen2_5_VLForConditionalGeneration.from_pretrained(FOLDER / "model", dtype=torch.float32).eval()
    model = get_peft_model(base, config).eval()
    spread(model, seed)
    target = FOLDER / "adapters" / name
    model.save_pretrained(target)
    (target / "README.md").unlink()
    path = target / "adapter_config.json"
    saved = json.loads(path.read_text()) | {"base_model_name_or_path": "../../model"}
    if isinstance(saved["target_modules"], list):
        saved["target_modules"].sort()
    path.write_text(json.dumps(saved, indent=2) + "\n")

    model64 = reference.to_float64(base)
    trained = {key: p for key, p in model64.named_parameters() if "lora_" in key}
    expected = {}
    for case_name, case in cases.items():
        inputs = inputs_of(processor, case)
        entries = []
        for member in case["responses"]:
            tokens = member["tokens"]
            with torch.no_grad():
                out, _ = reference.forward(base, inputs, tokens)
            with reference.true_float64():
                exact, _ = reference.forward(model64, inputs, tokens)
                log_probs64 = reference.response_log_probs(exact.logits, tokens)
                (member["weight"] * log_probs64.sum()).backward()
            entries.append(
                {
                    "logProbs": reference.response_log_probs(out.logits, tokens).tolist(),
                    "logProbs64": log_probs64.tolist(),
                }
            )
        expected[case_name] = entries
    gradients = {f"base_model.model.{file_key(key)}": p.grad for key, p in trained.items()}
    save_file(gradients, target / "gradients.safetensors")
    (target / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    for file in target.iterdir():
        file.chmod(0o644)
    print(f"{name}: {len(trained)} tensors", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    cases = json.loads((FOLDER / "cases.json").read_text())
    processor = Qwen2_5_VLProcessor.from_pretrained(FOLDER / "model")
    for seed, (name, config) in enumerate(ADAPTERS.items()):
        record(name, config, cases, processor, seed)


if __name__ == "__main__":
    main()
