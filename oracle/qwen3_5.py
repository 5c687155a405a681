"""Makes fixtures/configurations/qwen3_5-*: small random checkpoints of Qwen3.5 in its layouts of files, and what the
reference computes with each of them.

    oracle/run.sh qwen3_5.py
    oracle/python.sh oracle/qwen3_5.py [NAME]...

Heads are as wide as rounding asks for: what they read is normed, and where it is small two right implementations differ by
as much as 1e-3. Norms, decays and steps are random: the reference's own first values are all equal, and hide mistakes of
order. README.md in this folder describes the files.
"""

from __future__ import annotations

import copy
import json
import math
import pathlib
import shutil
import sys

import checkpoint
import configurations
import images
import reference
import torch
import trl
from configurations import FOLDER
from safetensors.torch import save_file
from tiny_qwen2_5_vl import compact, image_part, text_part
from transformers import AutoModelForImageTextToText, AutoProcessor, Qwen2VLImageProcessor, Qwen3VLProcessor
from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration, Qwen3VLVideoProcessor
from transformers.models.qwen3_5.tokenization_qwen3_5 import PRETOKENIZE_REGEX

TEMPLATES = pathlib.Path(trl.__file__).parent / "chat_templates"
MIN_PIXELS, MAX_PIXELS = 4 * 32 * 32, 100 * 32 * 32


def text(layers: int, heads: int, kv: int, size: int, rotary: float, section: list[int], linear: tuple, **others) -> dict:
    key_heads, value_heads, dk, dv = linear
    return {
        "hidden_size": 48,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "head_dim": size,
        "intermediate_size": 40,
        "max_position_embeddings": 4096,
        "linear_num_key_heads": key_heads,
        "linear_num_value_heads": value_heads,
        "linear_key_head_dim": dk,
        "linear_value_head_dim": dv,
        "rope_parameters": {
            "rope_type": "default",
            "mrope_interleaved": True,
            "mrope_section": section,
            "partial_rotary_factor": rotary,
            "rope_theta": others.pop("theta"),
        },
        **others,
    }


def vision(depth: int, width: int, heads: int, positions: int) -> dict:
    return {
        "hidden_size": width,
        "depth": depth,
        "num_heads": heads,
        "intermediate_size": 36,
        "num_position_embeddings": positions,
        "out_hidden_size": 48,
    }


# parts, tied head, layout of files, dtypes of the file, shards, chat template
CONFIGURATIONS = {
    # As published: each key head serves two value heads, decays and their norms stay in float32, layers for guesses ahead.
    "qwen3_5-hub": (
        text(4, 2, 1, 64, 0.25, [3, 3, 2], (2, 4, 64, 64), rms_norm_eps=1e-6, theta=1e7),
        vision(2, 32, 2, 64), True, "hub", "mixed", 2, "qwen3_5_nothink",
    ),
    # Layers in another order, three value heads of their own width for one key head.
    "qwen3_5-v5": (
        text(3, 2, 2, 32, 0.5, [4, 2, 2], (1, 3, 64, 96), rms_norm_eps=1e-5, theta=1e5,
             layer_types=["linear_attention", "full_attention", "linear_attention"]),
        vision(3, 24, 1, 36), False, "v5", "float32", 1, "qwen3_5_think",
    ),
    # All in bfloat16, rotary settings in their old form, an interval in place of a list of layers, equal numbers of heads.
    "qwen3_5-old": (
        text(2, 4, 2, 32, 0.25, [2, 1, 1], (2, 2, 64, 64), rms_norm_eps=1e-6, theta=1e6,
             layer_types=["linear_attention", "full_attention"]),
        vision(2, 32, 4, 49), False, "old", "bfloat16", 1, "qwen3_6",
    ),
}  # fmt: skip


def cases() -> dict[str, list[dict]]:
    """Those of all families, and a grid so large that the axes of positions part."""
    large = images.draw("wide-340x270", 340, 270, seed=1)
    other = {"large-grid": [{"role": "user", "content": [image_part(large), text_part("  where is नमस्ते?\n")]}]}
    return configurations.cases() | other


def make_tokenizer(template: str):
    """Letters with marks behind them are words here."""
    tokenizer = checkpoint.make_tokenizer()
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    splits = [each for each in state["pre_tokenizer"]["pretokenizers"] if each["type"] == "Split"]
    splits[0]["pattern"] = {"Regex": PRETOKENIZE_REGEX}
    tokenizer._tokenizer = type(tokenizer.backend_tokenizer).from_str(json.dumps(state))
    tokenizer.chat_template = (TEMPLATES / f"{template}.jinja").read_text()
    return tokenizer


def make_processor(tokenizer) -> Qwen3VLProcessor:
    size = {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS}
    halves = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "patch_size": 16}
    image = Qwen2VLImageProcessor(size=size, **halves)
    video = Qwen3VLVideoProcessor(size=size, do_sample_frames=False, **halves)
    return Qwen3VLProcessor(image, tokenizer, video, tokenizer.chat_template)


@torch.no_grad()
def spread(model, seed: int) -> None:
    """What `checkpoint.spread_weights` does, for this family's parts."""
    checkpoint.spread_weights(model, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    linear = model.config.text_config
    keys = 2 * linear.linear_num_key_heads * linear.linear_key_head_dim
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("A_log"):
            parameter.copy_(torch.log(0.05 + 3.95 * torch.rand(parameter.shape, generator=generator)))
        elif name.endswith("dt_bias"):
            parameter.copy_(noise - 1)
        elif name.endswith("in_proj_qkv.weight"):
            parameter[:keys] *= 4
        elif "language_model" in name and "norm" in name and "linear_attn" not in name:
            parameter.copy_(0.2 * noise)


def build(text_config: dict, vision_config: dict, tied: bool, seed: int, tokenizer):
    token = tokenizer.convert_tokens_to_ids
    special = {"bos_token_id": None, "eos_token_id": token("<|endoftext|>"), "pad_token_id": token("<|endoftext|>")}
    config = Qwen3_5Config(
        text_config={"vocab_size": math.ceil(len(tokenizer) / 16) * 16, "tie_word_embeddings": tied, **special, **text_config},
        vision_config=vision_config,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=tied,
    )
    config.dtype = torch.float32
    torch.manual_seed(seed)
    model = Qwen3_5ForConditionalGeneration(config).eval()
    spread(model, seed)
    return model


def config_file(config: dict, layout: str) -> dict:
    """config.json as `layout` has it: `hub` as published, `old` with other forms of the same, `v5` as it is saved today."""
    if layout == "v5":
        return config
    nested, tower = dict(config["text_config"]), dict(config["vision_config"])
    rope = nested.pop("rope_parameters")
    for part in (nested, tower):
        part.pop("dtype", None)
    top = {key: value for key, value in config.items() if key not in ("text_config", "vision_config", "dtype")}
    if layout == "hub":
        nested |= {"rope_parameters": rope, "dtype": "bfloat16", "full_attention_interval": 4, "mtp_num_hidden_layers": 1}
        nested |= {"mtp_use_dedicated_embeddings": False, "attn_output_gate": True, "mamba_ssm_dtype": "float32"}
        nested |= {"mlp_only_layers": []}
        tower |= {"deepstack_visual_indexes": [], "model_type": "qwen3_5"}
    else:
        nested.pop("layer_types")
        nested |= {"full_attention_interval": 2, "rope_theta": rope["rope_theta"], "torch_dtype": "bfloat16"}
        nested |= {"partial_rotary_factor": rope["partial_rotary_factor"]}
        nested["rope_scaling"] = {"type": "default", "mrope_section": rope["mrope_section"], "mrope_interleaved": True}
    return top | {"text_config": nested, "vision_config": tower}


def dtype_of(name: str, dtypes: str) -> torch.dtype:
    if dtypes != "mixed":
        return getattr(torch, dtypes)
    precise = name.endswith(("linear_attn.A_log", "linear_attn.norm.weight"))
    return torch.float32 if precise else torch.bfloat16


def ahead(config) -> dict[str, torch.Tensor]:
    """Some of the tensors with which published checkpoints guess a token ahead."""
    generator = torch.Generator().manual_seed(5)
    width = config.text_config.hidden_size
    shapes = {"fc.weight": (width, 2 * width), "norm.weight": (width,), "layers.0.input_layernorm.weight": (width,)}
    return {f"mtp.{key}": torch.randn(shape, generator=generator) for key, shape in shapes.items()}


def write_weights(model, dtypes: str, shards: int, with_ahead: bool, folder: pathlib.Path) -> None:
    tensors = dict(model.named_parameters()) | (ahead(model.config) if with_ahead else {})
    tensors = {key: value.detach().to(dtype_of(key, dtypes)).contiguous() for key, value in tensors.items()}
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        return
    names = list(tensors)
    index = {"metadata": {"total_size": sum(t.numel() * t.element_size() for t in tensors.values())}, "weight_map": {}}
    for i in range(shards):
        # Published files are called so.
        file = f"model.safetensors-{i + 1:05d}-of-{shards:05d}.safetensors"
        save_file({key: tensors[key] for key in names[i::shards]}, folder / file, {"format": "pt"})
        index["weight_map"] |= dict.fromkeys(names[i::shards], file)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def processor_files(folder: pathlib.Path, layout: str) -> None:
    if layout == "v5":
        return
    saved = json.loads((folder / "processor_config.json").read_text())
    (folder / "processor_config.json").unlink()
    for name, part in (("preprocessor_config", "image_processor"), ("video_preprocessor_config", "video_processor")):
        (folder / f"{name}.json").write_text(json.dumps(saved[part], indent=1) + "\n")


def write_checkpoint(folder: pathlib.Path, model, layout: str, dtypes: str, shards: int, tokenizer) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make_processor(tokenizer).save_pretrained(folder)
    checkpoint.tidy_tokenizer(folder)
    processor_files(folder, layout)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    saved = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config_file(saved, layout), indent=1) + "\n")
    write_weights(model, dtypes, shards, layout == "hub", folder)
    # The config's own stop token is not the one that ends a turn.
    ends = [tokenizer.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|endoftext|>")]
    generation = {"eos_token_id": ends, "do_sample": True, "top_k": 20}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=1) + "\n")
    for file in folder.iterdir():
        file.chmod(0o644)


def make(name: str, seed: int) -> None:
    text_config, vision_config, tied, layout, dtypes, shards, template = CONFIGURATIONS[name]
    print(name, flush=True)
    tokenizer = make_tokenizer(template)
    model = build(copy.deepcopy(text_config), vision_config, tied, seed, tokenizer)
    folder = FOLDER / name / "model"
    write_checkpoint(folder, model, layout, dtypes, shards, tokenizer)
    load = lambda kind: AutoModelForImageTextToText.from_pretrained(folder, dtype=kind).eval()  # noqa: E731
    models = {"float32": load(torch.float32), "bfloat16": load(torch.bfloat16)}
    models["float64"] = reference.to_float64(models["float32"])
    configurations.write_expected(name, layout, models, AutoProcessor.from_pretrained(folder), cases())


def main() -> None:
    torch.set_num_threads(1)
    for seed, name in enumerate(CONFIGURATIONS):
        if name in (sys.argv[1:] or CONFIGURATIONS):
            make(name, 340 + seed)


if __name__ == "__main__":
    main()
