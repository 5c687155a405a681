"""Makes fixtures/configurations/smolvlm-* and idefics3-hub: small random SmolVLM2 checkpoints in every layout of files, one of
Idefics3, and what the reference computes with each of them: all of them, or those that are named.

    oracle/run.sh smolvlm.py
    oracle/python.sh oracle/smolvlm.py [NAME]...

The files are those of configurations.py; tensors have the names that they have here in memory (`own`).
"""

from __future__ import annotations

import json
import pathlib
import shutil
import sys

import tvshim  # noqa: F401  (before transformers)
import images
import tiled
import torch
from safetensors.torch import save_file
from tiled import FOLDER
from tiny_qwen2_5_vl import image_part, text_part
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Idefics3Config, Idefics3ForConditionalGeneration, SmolVLMConfig, SmolVLMForConditionalGeneration
from transformers.models.smolvlm import processing_smolvlm

# It spells numbers of frames, and no video is shown here.
processing_smolvlm.num2words = processing_smolvlm.num2words or str

# The chat template of SmolVLM2-Instruct.
CHAT_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}{% if message['content'][0]['type'] == 'image' %}"
    "{{':'}}{% else %}{{': '}}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
AROUND = ["<fake_token_around_image>", "<image>", "<end_of_utterance>"]
TILES = ["<global-img>", *(f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7))]
CORPUS = """find the red circle and the blue square in the picture\n\n
User: where is it? Assistant: think answer\n\n\n
Please find the green triangle with bboxs. System: Be brief.\n\n
[{"bbox_2d":[10,20,30,40],"label":"red circle"}] which one moves and here?\n\n
""" * 3
VOCABULARY = 360


def tokenizer_file(tiles: bool) -> dict:
    """Byte-level BPE as SmolLM2's: digits one by one, then GPT-2's words. `tiles`: whether tiles have tokens of their own."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    first = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(vocab_size=310, initial_alphabet=alphabet, special_tokens=first, show_progress=False)
    # As one text: its line breaks are learned, too.
    bpe.train_from_iterator([CORPUS], trainer)
    bpe.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in AROUND + (TILES if tiles else [])])
    return json.loads(bpe.to_str())


def tower(side: int, patch: int, width: int = 16, heads: int = 2, **others) -> dict:
    """`side`: rows and columns of the table of positions."""
    return {"hidden_size": width, "num_attention_heads": heads, "image_size": side * patch, "patch_size": patch, **others}


SMALL = {"num_hidden_layers": 2, "intermediate_size": 36}


def decoder(heads: int, kv: int, size: int = 8, **others) -> dict:
    given = {"num_hidden_layers": 2, "num_attention_heads": heads, "num_key_value_heads": kv, "intermediate_size": 40}
    return {"hidden_size": heads * size, "max_position_embeddings": 2048, "vocab_size": VOCABULARY, **given, **others}


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 512}

# tower, decoder, scale factor, tile, longest edge, tied head, layout of files, dtype of the file, shards
CONFIGURATIONS = {
    # As published: the tower's depth, width inside, activation and eps are left to the class; 8 x 8 patches on a table of 8 x 8.
    "smolvlm-hub": (tower(8, 4, 8), decoder(4, 2, rms_norm_eps=1e-5, rope_theta=1e5), 4, 32, 96, False, "hub", "bfloat16", 1),
    # Tiles of 80 pixels hold 6 patches of 13 and two pixels more; their places are buckets of a table of 7 x 7. Few tokens for tiles.
    "smolvlm-odd": (tower(7, 13, **SMALL), decoder(3, 1, rms_norm_eps=1e-6, rope_theta=1e4), 3, 80, 160, True, "plain", "float32", 2),
    # What transformers 5 saves; 10 x 10 patches on a table of 12 x 12.
    "smolvlm-v5": (tower(12, 4, 24, 3, **SMALL, layer_norm_eps=1e-5), decoder(4, 4, 6, rope_theta=5e3), 2, 40, 120, False, "v5", "float32", 1),
    # The same build, with other names in its files, and Llama 3.1's frequencies; 6 x 6 patches on a table of 8 x 8.
    "idefics3-hub": (
        tower(8, 6, 24, 3, **SMALL), decoder(6, 3, rms_norm_eps=1e-5, rope_theta=2.73e5, rope_scaling=LLAMA3),
        3, 36, 108, True, "hub", "bfloat16", 2,
    ),
    # An image is one tile; a file that says little.
    "smolvlm-whole": (tower(4, 8, **SMALL), decoder(2, 1, 12, head_dim=16), 2, 32, 32, True, "bare", "bfloat16", 1),
}

CLASSES = {
    "smolvlm": ("SmolVLM", SmolVLMConfig, SmolVLMForConditionalGeneration),
    "idefics3": ("Idefics3", Idefics3Config, Idefics3ForConditionalGeneration),
}


def classes(name: str):
    """Of a configuration: the beginning of class names, config, model."""
    return CLASSES.get(name.split("-")[0], CLASSES["smolvlm"])


# Of the weights. How far a single number strays in bfloat16 is chance, theirs and ours.
SEEDS = {"smolvlm-hub": 300, "smolvlm-odd": 301, "smolvlm-v5": 403, "smolvlm-whole": 403, "idefics3-hub": 305}


def cases() -> dict[str, list[dict]]:
    wide = images.draw("wide-150x62", 150, 62, seed=11)
    tall = images.draw("tall-45x160", 45, 160, seed=12)
    square = images.draw("square-100x98", 100, 98, seed=13)
    small = images.draw("small-40x40", 40, 40, seed=4)
    return {
        "one-image": [{"role": "user", "content": [image_part(wide), text_part("find the red circle")]}],
        "three-images": [
            {"role": "system", "content": [text_part("Be brief.")]},
            {"role": "user", "content": [text_part("first\n"), image_part(wide), image_part(tall), text_part("\n which?")]},
            {"role": "assistant", "content": [text_part("the blue square")]},
            {"role": "user", "content": [image_part(square), text_part("and here?")]},
        ],
        "text": [{"role": "user", "content": [text_part("Where is 42? 漢字")]}],
        "small": [{"role": "user", "content": [text_part("Is 1234"), image_part(small), text_part("\n\nblue?")]}],
    }


def responses(tokenizer, name: str) -> list[dict]:
    ids = lambda value: tokenizer(value)["input_ids"]  # noqa: E731
    generator = torch.Generator().manual_seed(len(name))
    return [
        {"tokens": ids(" <answer>[]</answer><end_of_utterance>"), "weight": 1.5},
        {"tokens": torch.randint(3, 310, (20 + len(name) % 4,), generator=generator).tolist(), "weight": -0.75},
    ]


# Files ------------------------------------------------------------------------------------------------------------------


NAMES = [
    ("model.vision_model.embeddings.", "visual.patch_embed."),
    ("model.vision_model.encoder.layers.", "visual.blocks."),
    ("model.vision_model.post_layernorm", "visual.post_layernorm"),
    ("model.connector.modality_projection.", "visual.merger."),
    ("model.text_model.", "model."),
]


def own(name: str) -> str:
    return next((ours + name[len(theirs) :] for theirs, ours in NAMES if name.startswith(theirs)), name)


@torch.no_grad()
def spread(model, seed: int, logit_std: float = 3.0) -> None:
    """As checkpoint.spread_weights: so that every part of the network moves the logits."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim == 1:
            value = 1 + 0.2 * noise if name.endswith("weight") else 0.3 * noise
        elif name.endswith("embed_tokens.weight"):
            value = noise * (logit_std / parameter.shape[1] ** 0.5 if model.config.tie_word_embeddings else 1.0)
        elif name.endswith("position_embedding.weight"):
            value = noise
        elif name == "lm_head.weight":
            value = noise * logit_std / parameter.shape[1] ** 0.5
        else:
            value = 1.2 * noise / parameter[0].numel() ** 0.5
        parameter.copy_(value)


def build(name: str, vision: dict, text: dict, scale: int, tied: bool, ids: dict[str, int], seed: int):
    special = {"bos_token_id": ids["<|im_start|>"], "eos_token_id": ids["<end_of_utterance>"], "pad_token_id": ids["<|im_end|>"]}
    _, config_class, model_class = classes(name)
    config = config_class(
        text_config={"model_type": "llama", "tie_word_embeddings": tied, **special, **json.loads(json.dumps(text))},
        vision_config=vision,
        image_token_id=ids["<image>"],
        scale_factor=scale,
        tie_word_embeddings=tied,
    )
    config.dtype = torch.float32
    torch.manual_seed(seed)
    model = model_class(config).eval()
    spread(model, seed)
    return model


def config_file(saved: dict, vision: dict, text: dict, layout: str, tied: bool) -> dict:
    """config.json as `layout` has it; `v5` is what is saved today."""
    if layout == "v5":
        return saved
    theta = {"rope_theta": text["rope_theta"]} if "rope_theta" in text else {}
    top = {"architectures": saved["architectures"], "model_type": saved["model_type"], "image_token_id": saved["image_token_id"]}
    top |= {"scale_factor": saved["scale_factor"], "tie_word_embeddings": tied, "torch_dtype": "bfloat16"}
    ids = {key: saved["text_config"][key] for key in ("bos_token_id", "eos_token_id")}
    if layout == "bare":
        return top | {"text_config": text | theta, "vision_config": vision}
    # What the converter of the published checkpoints left behind.
    junk = {"_flash_attn_2_enabled": True, "architectures": ["VLlama3ForCausalLM"], "is_llama_config": True, "neftune_noise_alpha": 0.0}
    junk |= {"perceiver_config": {"hidden_act": "silu", "model_type": "vllama3"}, "pixel_shuffle_factor": saved["scale_factor"]}
    junk |= {"qk_layer_norms": False, "rope_interleaved": False, "rope_scaling": None, "use_resampler": False, "pad_token_id": 2}
    nested = {"model_type": "llama", "head_dim": saved["text_config"]["head_dim"], "hidden_act": "silu", "mlp_bias": False}
    top |= {"pad_token_id": 128002, "text_config": junk | nested | {"attention_bias": False} | text | theta}
    kind = f"{saved['model_type']}_vision" if layout == "hub" else "idefics3_vision"
    extra = {"max_image_size": {"longest_edge": vision["image_size"]}, "size": {"longest_edge": 2048}, "use_base_siglip": True}
    return top | {"vision_config": {"model_type": kind, "tie_word_embeddings": False} | extra | vision} | (ids if layout == "plain" else {})


def processor_files(folder: pathlib.Path, kind: str, layout: str, tile: int, longest: int, tokens: int) -> None:
    write = lambda name, value: (folder / name).write_text(json.dumps(value, indent=1) + "\n")  # noqa: E731
    image = {"size": {"longest_edge": longest}, "max_image_size": {"longest_edge": tile}, "resample": 1, "rescale_factor": 1 / 255}
    image |= {"do_convert_rgb": True, "do_image_splitting": True, "do_pad": True, "image_processor_type": f"{kind}ImageProcessor"}
    image |= {"do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    sampling = {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": tile}}
    whole = {"image_seq_len": tokens, "processor_class": f"{kind}Processor"}
    if layout == "v5":
        # Statistics of its own, by channel.
        image |= {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.5, 0.25, 0.3]}
        video = {"video_processor_type": "SmolVLMVideoProcessor", "video_sampling": sampling}
        write("processor_config.json", whole | {"image_processor": image, "video_processor": image | video})
        (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
        return
    if layout == "bare":
        image = {key: image[key] for key in ("size", "max_image_size", "image_processor_type")}
    write("preprocessor_config.json", image | {"processor_class": f"{kind}Processor"} | ({"video_sampling": sampling} if kind == "SmolVLM" else {}))
    write("processor_config.json", whole)
    write("chat_template.json", {"chat_template": CHAT_TEMPLATE})


def tokenizer_files(folder: pathlib.Path, file: dict, kind: str, layout: str) -> None:
    (folder / "tokenizer.json").write_text(json.dumps(file, ensure_ascii=False, indent=1) + "\n")
    config = {
        "bos_token": "<|im_start|>",
        "eos_token": "<end_of_utterance>",
        "pad_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
        "fake_image_token": "<fake_token_around_image>",
        "image_token": "<image>",
        "end_of_utterance_token": "<end_of_utterance>",
        "clean_up_tokenization_spaces": False,
        "processor_class": f"{kind}Processor",
    }
    declared = {"hub": "GPT2Tokenizer", "plain": "GPT2Tokenizer", "v5": "TokenizersBackend"}.get(layout)
    config |= {"tokenizer_class": declared} if declared else {}
    if layout == "hub":
        config["chat_template"] = "{{ 'an older one' }}"
        config["global_image_token"] = "<global-img>"
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")


def write_checkpoint(folder: pathlib.Path, name: str, seed: int) -> None:
    vision, text, scale, tile, longest, tied, layout, dtype, shards = CONFIGURATIONS[name]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    file = tokenizer_file(tiles=layout != "plain")
    ids = file["model"]["vocab"] | {token["content"]: token["id"] for token in file["added_tokens"]}
    model = build(name, vision, text, scale, tied, ids, seed)
    kind = classes(name)[0]
    tokenizer_files(folder, file, kind, layout)
    tokens = (tile // vision["patch_size"] // scale) ** 2
    processor_files(folder, kind, layout, tile, longest, tokens)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    saved = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config_file(saved, vision, text, layout, tied), indent=1) + "\n")
    generation = {"_from_model_config": True, "bos_token_id": ids["<|im_start|>"], "eos_token_id": ids["<end_of_utterance>"]}
    if layout != "plain":
        (folder / "generation_config.json").write_text(json.dumps(generation | {"pad_token_id": ids["<|im_end|>"]}, indent=1) + "\n")
    tensors = {key: each.detach().to(getattr(torch, dtype)).contiguous() for key, each in model.named_parameters()}
    save(folder, tensors, shards)
    for each in folder.iterdir():
        each.chmod(0o644)


def save(folder: pathlib.Path, tensors: dict, shards: int) -> None:
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        return
    names = list(tensors)
    index = {"metadata": {"total_size": sum(t.numel() * t.element_size() for t in tensors.values())}, "weight_map": {}}
    for i, cut in enumerate(names[k::shards] for k in range(shards)):
        file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        save_file({key: tensors[key] for key in cut}, folder / file, {"format": "pt"})
        index["weight_map"] |= dict.fromkeys(cut, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


# Numbers ----------------------------------------------------------------------------------------------------------------


BUILD = tiled.Build(
    own=own,
    text=lambda model: model.model.text_model,
    pictures=lambda pictures: [pictures],
    tiles=lambda inputs: inputs["pixel_values"][0],
    features=lambda model, inputs: model.model.get_image_features(inputs["pixel_values"], inputs["pixel_attention_mask"]).pooler_output,
    given=("pixel_values", "pixel_attention_mask"),
)
encode, forward = BUILD.encode, BUILD.forward


def make(name: str, seed: int) -> None:
    print(name, flush=True)
    write_checkpoint(FOLDER / name / "model", name, seed)
    tiled.make(BUILD, name, CONFIGURATIONS[name][6], cases(), responses)


def main() -> None:
    torch.set_num_threads(1)
    for name, seed in SEEDS.items():
        if name in (sys.argv[1:] or SEEDS):
            make(name, seed)


if __name__ == "__main__":
    main()
