"""Makes fixtures/configurations/internvl-*: small random InternVL3 and InternVL3.5 checkpoints in layouts of files, and what the
reference computes with each of them: all of them, or those that are named.

    oracle/run.sh internvl.py
    oracle/python.sh oracle/internvl.py [NAME]...
"""

from __future__ import annotations

import json
import pathlib
import shutil
import sys

import tvshim  # noqa: F401  (before transformers)
import checkpoint
import smolvlm
import tiled
import torch
from tiled import FOLDER
from tokenizers import AddedToken
from transformers import GotOcr2ImageProcessor, InternVLConfig, InternVLForConditionalGeneration, InternVLProcessor
from transformers import InternVLVideoProcessor

# Those of the published files.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n'}}{% if message['content'] is string %}"
    "{{ message['content'] }}{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' %}"
    "{{ '<IMG_CONTEXT>\\n' }}{% elif content['type'] == 'video' %}{{ '<video>\\n' }}{% elif content['type'] == 'text' %}"
    "{{ content['text'] }}{% endif %}{% endfor %}{% endif %}{{'<|im_end|>\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\\n' }}{% endif %}"
)
ROLES = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>", "video_token": "<video>"}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def text(kind: str, heads: int, kv: int, width: int, theta: float, **others) -> dict:
    given = {"model_type": kind, "hidden_size": width, "num_hidden_layers": 2, "num_attention_heads": heads, "num_key_value_heads": kv}
    rope = {"rope_type": "default", "rope_theta": theta}
    return given | {"intermediate_size": 40, "max_position_embeddings": 2048, "vocab_size": 352, "rope_parameters": rope, **others}


def tower(across: int, patch: int, width: int, heads: int, **others) -> dict:
    side = others.pop("tile", across * patch)
    given = {"hidden_size": width, "num_hidden_layers": 2, "num_attention_heads": heads, "intermediate_size": 36}
    return given | {"image_size": [side, side], "patch_size": [patch, patch], **others}


# decoder, tower, part of a side that is left by the pixel shuffle, most tiles, tied head, layout of files, dtype, shards
CONFIGURATIONS = {
    # As InternVL3: Qwen2's decoder, with biases; names of tensors from before 4.52; statistics of the class.
    "internvl-hub": (
        text("qwen2", 4, 2, 32, 1e6, rms_norm_eps=1e-6), tower(8, 4, 24, 3, attention_bias=True),
        0.5, 4, True, "hub", "bfloat16", 2,
    ),
    # As InternVL3.5: Qwen3's decoder, heads wider than the stream; many tiles; statistics of published files.
    "internvl-v5": (
        text("qwen3", 2, 1, 24, 1e4, head_dim=16, rms_norm_eps=1e-5), tower(6, 5, 16, 2, attention_bias=True, layer_norm_eps=1e-5),
        0.5, 12, False, "v5", "float32", 1,
    ),
    # The large tower's norms, no biases; tiles that patches do not fill, joined by 4; one tile.
    "internvl-whole": (
        text("qwen3", 4, 4, 40, 5e6, head_dim=10), tower(8, 5, 24, 2, tile=43, norm_type="rms_norm", use_qk_norm=True),
        0.25, 1, False, "plain", "bfloat16", 1,
    ),
}  # fmt: skip


def own(name: str) -> str:
    beginnings = [
        ("model.vision_tower.embeddings.", "visual.patch_embed."),
        ("model.vision_tower.encoder.layer.", "visual.blocks."),
        ("model.multi_modal_projector.", "visual.merger."),
        ("model.language_model.", "model."),
    ]
    return next((ours + name[len(theirs) :] for theirs, ours in beginnings if name.startswith(theirs)), name)


BUILD = tiled.Build(
    own=own,
    text=lambda model: model.model.language_model,
    pictures=lambda pictures: pictures,
    tiles=lambda inputs: inputs["pixel_values"],
    features=lambda model, inputs: model.model.get_image_features(inputs["pixel_values"]).pooler_output,
    given=("pixel_values",),
)


def responses(tokenizer, name: str) -> list[dict]:
    ids = lambda value: tokenizer(value)["input_ids"]  # noqa: E731
    generator = torch.Generator().manual_seed(len(name))
    return [
        {"tokens": ids("<answer>[]</answer><|im_end|>"), "weight": 1.5},
        {"tokens": torch.randint(0, 320, (20 + len(name) % 4,), generator=generator).tolist(), "weight": -0.75},
    ]


def make_tokenizer():
    tokenizer = checkpoint.make_tokenizer()
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in ROLES.values()])
    tokenizer._set_model_specific_special_tokens(ROLES)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


@torch.no_grad()
def spread(model, seed: int) -> None:
    """What `checkpoint.spread_weights` does, for this family's parts."""
    checkpoint.spread_weights(model, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith(("cls_token", "position_embeddings")):
            parameter.copy_(noise)
        elif ".lambda_" in name:
            parameter.copy_(0.7 + 0.3 * noise)


def build(decoder: dict, vision: dict, ratio: float, tied: bool, seed: int, tokenizer):
    token = tokenizer.convert_tokens_to_ids
    special = {"bos_token_id": token("<|endoftext|>"), "eos_token_id": token("<|im_end|>"), "pad_token_id": token("<|endoftext|>")}
    config = InternVLConfig(
        text_config={**special, "tie_word_embeddings": tied, **json.loads(json.dumps(decoder))},
        vision_config=dict(vision),
        image_token_id=token("<IMG_CONTEXT>"),
        downsample_ratio=ratio,
        tie_word_embeddings=tied,
        image_seq_length=tokens_of(vision, ratio),
    )
    config.dtype = torch.float32
    torch.manual_seed(seed)
    model = InternVLForConditionalGeneration(config).eval()
    spread(model, seed)
    return model


def tokens_of(vision: dict, ratio: float) -> int:
    return (vision["image_size"][0] // vision["patch_size"][0] // int(1 / ratio)) ** 2


def older(name: str) -> str:
    """As it was before 4.52."""
    return name.replace("model.language_model.", "language_model.model.", 1) if "language_model" in name else (
        "language_model.lm_head.weight" if name == "lm_head.weight" else name.removeprefix("model.")
    )


def config_file(saved: dict, layout: str) -> dict:
    if layout == "v5":
        return saved
    nested = dict(saved["text_config"])
    nested["rope_theta"] = nested.pop("rope_parameters")["rope_theta"]
    saved = {key: value for key, value in saved.items() if key != "dtype"} | {"text_config": nested, "torch_dtype": "bfloat16"}
    for part in (nested, saved["vision_config"]):
        part.pop("dtype", None)
    if layout == "plain":
        # What equals the default may be left out.
        for key in ("hidden_act", "attention_dropout", "use_sliding_window", "sliding_window", "layer_types", "max_window_layers"):
            nested.pop(key, None)
    return saved


def processor_files(folder: pathlib.Path, layout: str) -> None:
    """What `save_pretrained` wrote, as older versions had it."""
    if layout == "v5":
        return
    write = lambda name, value: (folder / name).write_text(json.dumps(value, indent=1) + "\n")  # noqa: E731
    saved = json.loads((folder / "processor_config.json").read_text())
    write("preprocessor_config.json", saved.pop("image_processor") | {"processor_class": "InternVLProcessor"})
    write("video_preprocessor_config.json", saved.pop("video_processor"))
    write("processor_config.json", saved)


def write_checkpoint(folder: pathlib.Path, name: str, seed: int) -> None:
    decoder, vision, ratio, most, tied, layout, dtype, shards = CONFIGURATIONS[name]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tokenizer = make_tokenizer()
    side = vision["image_size"][0]
    size = {"height": side, "width": side}
    statistics = {} if layout == "hub" else {"image_mean": MEAN, "image_std": STD}
    image = GotOcr2ImageProcessor(size=size, max_patches=most, min_patches=1, crop_to_patches=False, **statistics)
    video = InternVLVideoProcessor(size=size, **statistics)
    InternVLProcessor(image, tokenizer, video, tokens_of(vision, ratio), CHAT_TEMPLATE).save_pretrained(folder)
    checkpoint.tidy_tokenizer(folder)
    processor_files(folder, layout)
    model = build(decoder, vision, ratio, tied, seed, tokenizer)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    saved = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config_file(saved, layout), indent=1) + "\n")
    rename = older if layout == "hub" else lambda key: key
    tensors = {rename(key): each.detach().to(getattr(torch, dtype)).contiguous() for key, each in model.named_parameters()}
    smolvlm.save(folder, tensors, shards)
    for file in folder.iterdir():
        file.chmod(0o644)


def main() -> None:
    torch.set_num_threads(1)
    for seed, name in enumerate(CONFIGURATIONS):
        if name in (sys.argv[1:] or CONFIGURATIONS):
            print(name, flush=True)
            write_checkpoint(FOLDER / name / "model", name, 500 + seed)
            tiled.make(BUILD, name, CONFIGURATIONS[name][5], smolvlm.cases(), responses)


if __name__ == "__main__":
    main()
