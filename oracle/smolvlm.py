"""Makes fixtures/configurations/smolvlm-*: small random SmolVLM2 checkpoints in every layout of files, and what the reference
computes with each of them.

    oracle/run.sh smolvlm.py

The files are those of configurations.py; tensors have the names that they have here in memory (`own`).
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import pathlib
import shutil

import tvshim  # noqa: F401  (before transformers)
import images
import reference
import torch
from configurations import OPTIMIZERS, SAMPLES, TOKENS, WITNESSES, bfloat16_distance, thin
from safetensors.torch import save_file
from PIL import Image
from tiny_qwen2_5_vl import compact, image_part, text_part
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForImageTextToText, AutoProcessor, SmolVLMConfig, SmolVLMForConditionalGeneration
from transformers.models.llama import modeling_llama as llama
from transformers.models.smolvlm import processing_smolvlm

# It spells numbers of frames, and no video is shown here.
processing_smolvlm.num2words = processing_smolvlm.num2words or str

FOLDER = pathlib.Path(__file__).parent / "fixtures" / "configurations"

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


# tower, decoder, scale factor, tile, longest edge, tied head, layout of files, dtype of the file, shards
CONFIGURATIONS = {
    # As published: the tower's depth, width inside, activation and eps are left to the class; 8 x 8 patches on a table of 8 x 8.
    "smolvlm-hub": (tower(8, 4, 8), decoder(4, 2, rms_norm_eps=1e-5, rope_theta=1e5), 4, 32, 96, False, "hub", "bfloat16", 1),
    # Tiles of 80 pixels hold 6 patches of 13 and two pixels more; their places are buckets of a table of 7 x 7. Few tokens for tiles.
    "smolvlm-odd": (tower(7, 13, **SMALL), decoder(3, 1, rms_norm_eps=1e-6, rope_theta=1e4), 3, 80, 160, True, "plain", "float32", 2),
    # What transformers 5 saves; 10 x 10 patches on a table of 12 x 12.
    "smolvlm-v5": (tower(12, 4, 24, 3, **SMALL, layer_norm_eps=1e-5), decoder(4, 4, 6, rope_theta=5e3), 2, 40, 120, False, "v5", "float32", 1),
    # An image is one tile; a file that says little.
    "smolvlm-whole": (tower(4, 8, **SMALL), decoder(2, 1, 12, head_dim=16), 2, 32, 32, True, "bare", "bfloat16", 1),
}


# Of the weights. How far a single number strays in bfloat16 is chance, theirs and ours.
SEEDS = {"smolvlm-hub": 300, "smolvlm-odd": 301, "smolvlm-v5": 403, "smolvlm-whole": 403}


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


def named(model) -> dict[str, torch.nn.Parameter]:
    return {own(name): each for name, each in model.named_parameters()}


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


def build(vision: dict, text: dict, scale: int, tied: bool, ids: dict[str, int], seed: int):
    special = {"bos_token_id": ids["<|im_start|>"], "eos_token_id": ids["<end_of_utterance>"], "pad_token_id": ids["<|im_end|>"]}
    config = SmolVLMConfig(
        text_config={"model_type": "llama", "tie_word_embeddings": tied, **special, **text},
        vision_config=vision,
        image_token_id=ids["<image>"],
        scale_factor=scale,
        tie_word_embeddings=tied,
    )
    config.dtype = torch.float32
    torch.manual_seed(seed)
    model = SmolVLMForConditionalGeneration(config).eval()
    spread(model, seed)
    return model


def config_file(saved: dict, vision: dict, text: dict, layout: str, tied: bool) -> dict:
    """config.json as `layout` has it; `v5` is what is saved today."""
    if layout == "v5":
        return saved
    theta = {"rope_theta": text["rope_theta"]} if "rope_theta" in text else {}
    top = {"architectures": saved["architectures"], "model_type": "smolvlm", "image_token_id": saved["image_token_id"]}
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
    kind = "smolvlm_vision" if layout == "hub" else "idefics3_vision"
    extra = {"max_image_size": {"longest_edge": vision["image_size"]}, "size": {"longest_edge": 2048}, "use_base_siglip": True}
    return top | {"vision_config": {"model_type": kind, "tie_word_embeddings": False} | extra | vision} | (ids if layout == "plain" else {})


def processor_files(folder: pathlib.Path, layout: str, tile: int, longest: int, tokens: int) -> None:
    write = lambda name, value: (folder / name).write_text(json.dumps(value, indent=1) + "\n")  # noqa: E731
    image = {"size": {"longest_edge": longest}, "max_image_size": {"longest_edge": tile}, "resample": 1, "rescale_factor": 1 / 255}
    image |= {"do_convert_rgb": True, "do_image_splitting": True, "do_pad": True, "image_processor_type": "SmolVLMImageProcessor"}
    image |= {"do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    sampling = {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": tile}}
    whole = {"image_seq_len": tokens, "processor_class": "SmolVLMProcessor"}
    if layout == "v5":
        # Statistics of its own, by channel.
        image |= {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.5, 0.25, 0.3]}
        video = {"video_processor_type": "SmolVLMVideoProcessor", "video_sampling": sampling}
        write("processor_config.json", whole | {"image_processor": image, "video_processor": image | video})
        (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
        return
    if layout == "bare":
        image = {key: image[key] for key in ("size", "max_image_size", "image_processor_type")}
    write("preprocessor_config.json", image | {"processor_class": "SmolVLMProcessor", "video_sampling": sampling})
    write("processor_config.json", whole)
    write("chat_template.json", {"chat_template": CHAT_TEMPLATE})


def tokenizer_files(folder: pathlib.Path, file: dict, layout: str) -> None:
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
        "processor_class": "SmolVLMProcessor",
    }
    kind = {"hub": "GPT2Tokenizer", "plain": "GPT2Tokenizer", "v5": "TokenizersBackend"}.get(layout)
    config |= {"tokenizer_class": kind} if kind else {}
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
    model = build(vision, text, scale, tied, ids, seed)
    tokenizer_files(folder, file, layout)
    tokens = (tile // vision["patch_size"] // scale) ** 2
    processor_files(folder, layout, tile, longest, tokens)
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


@contextlib.contextmanager
def true_float64():
    """Keeps float64 where the reference casts to float32 inside a float64 model: RMSNorm."""

    def norm(self, hidden):
        return self.weight * (hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))

    saved = llama.LlamaRMSNorm.forward
    try:
        llama.LlamaRMSNorm.forward = norm
        yield
    finally:
        llama.LlamaRMSNorm.forward = saved


def encode(processor, messages: list[dict]):
    parts = [part for message in messages for part in message["content"]]
    pictures = [Image.open(images.FOLDER / part["image"]) for part in parts if part["type"] == "image"]
    rendered = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return rendered, processor(text=[rendered], images=[pictures] if pictures else None, return_tensors="pt")


def forward(model, inputs, response: list[int]):
    """One pass over prompt + response."""
    ids = torch.cat([inputs["input_ids"], torch.tensor([response], dtype=torch.long)], dim=1)
    vision = {key: inputs[key] for key in ("pixel_values", "pixel_attention_mask") if key in inputs}
    return model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **vision)


def digest(pixels: torch.Tensor, processor) -> str:
    """sha256 of the bytes that tiles were before they were normalised, [tiles, 3, side, side]."""
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (processor.image_processor.image_mean, processor.image_processor.image_std))
    values = pixels.double() * std + mean
    return hashlib.sha256((values * 255).round().to(torch.uint8).numpy().tobytes()).hexdigest()


def hidden_states(model, inputs, tokens: list[int]) -> dict[str, torch.Tensor]:
    taken: dict[str, torch.Tensor] = {}
    keep = lambda key: lambda _m, _a, out: taken.__setitem__(key, out[0] if isinstance(out, tuple) else out)  # noqa: E731
    hooks = [layer.register_forward_hook(keep(f"layers.{i}")) for i, layer in enumerate(model.model.text_model.layers)]
    with torch.no_grad():
        forward(model, inputs, tokens)
        for hook in hooks:
            hook.remove()
        if "pixel_values" in inputs:
            given = inputs["pixel_values"], inputs["pixel_attention_mask"]
            taken["imageFeatures"] = torch.cat(list(model.model.get_image_features(*given).pooler_output))
    return {key: value.reshape(-1, value.shape[-1]).contiguous() for key, value in taken.items()}


def record(name: str, messages: list[dict], models: dict, processor) -> tuple[dict, dict, dict]:
    rendered, inputs = encode(processor, messages)
    prompt = inputs["input_ids"][0].tolist()
    entry: dict = {"messages": messages, "rendered": rendered, "inputIds": prompt, "imageGridThw": [], "videoGridThw": []}
    entry["positionIds"] = [list(range(len(prompt)))] * 3
    tensors: dict[str, torch.Tensor] = {}
    if "pixel_values" in inputs:
        tiles = inputs["pixel_values"][0]
        side = tiles.shape[-1] // models["float32"].config.vision_config.patch_size
        counts = list(tile_counts(processor, messages))
        assert sum(counts) == tiles.shape[0]
        entry["imageGridThw"] = [[count, side, side] for count in counts]
        entry["imagePixelsSha256"] = digest(tiles, processor)
        tensors["imagePixels"] = thin(tiles, 512)
    members = responses(processor.tokenizer, name)
    entry["responses"] = []
    for index, member in enumerate(members):
        tokens = member["tokens"]
        with torch.no_grad():
            out = forward(models["float32"], inputs, tokens)
            half = forward(models["bfloat16"], inputs, tokens)
            with true_float64():
                exact = forward(models["float64"], inputs, tokens)
        if index == 0:
            tensors["logits"] = out.logits[0, -len(tokens) - 1 : -1].clone()
        score = lambda result: reference.response_log_probs(result.logits.double(), tokens).tolist()  # noqa: E731
        entry["responses"].append(
            member | {"logProbs": score(out), "logProbs64": score(exact), "logProbsBfloat16": score(half)}
        )
    tensors |= hidden_states(models["float32"], inputs, members[0]["tokens"])
    entry["greedy"] = {}
    for penalty in (1.0, 1.3):
        tokens, lead = reference.greedy(models["float32"], inputs, TOKENS, penalty)
        entry["greedy"][str(penalty)] = {"tokens": tokens, "lead": lead}
    print(f"  {name}: {len(prompt)} tokens, leads {[round(g['lead'], 3) for g in entry['greedy'].values()]}", flush=True)
    return entry, {f"{name}.{key}": value.contiguous() for key, value in tensors.items()}, {"inputs": inputs, "members": members}


def tile_counts(processor, messages: list[dict]):
    """Tiles of every image, from one at a time."""
    for message in messages:
        for part in message["content"]:
            if part["type"] == "image":
                picture = Image.open(images.FOLDER / part["image"])
                yield processor.image_processor([[picture]], return_tensors="pt")["pixel_values"].shape[1]


def objective(model, batch: list[dict]) -> torch.Tensor:
    """sum over cases and responses of weight * sum_t log pi(token_t)"""
    terms = []
    for each in batch:
        for member in each["members"]:
            out = forward(model, each["inputs"], member["tokens"])
            terms.append(member["weight"] * reference.response_log_probs(out.logits, member["tokens"]).sum())
    return torch.stack(terms).sum()


def gradients(model, batch: list[dict]) -> tuple[dict, dict]:
    model.zero_grad()
    loss = objective(model, batch)
    loss.backward()
    grads = {key: torch.zeros_like(p) if p.grad is None else p.grad for key, p in named(model).items()}
    summary = {
        "loss": float(loss),
        "norms": {key: float(grad.norm()) for key, grad in grads.items()},
        "largest": {key: float(grad.abs().max()) for key, grad in grads.items()},
    }
    return summary, {f"gradient.{key}": thin(grad, SAMPLES) for key, grad in grads.items()}


def steps(model, batch: list[dict], optimizer: torch.optim.Optimizer, count: int) -> dict:
    before = {key: parameter.detach().clone() for key, parameter in named(model).items()}
    losses = []
    for _ in range(count):
        optimizer.zero_grad()
        loss = objective(model, batch)
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    after = {
        key: {"moved": float((p.detach() - before[key]).norm()), "samples": thin(p.detach(), WITNESSES).tolist()}
        for key, p in named(model).items()
    }
    return {"losses": losses, "parameters": after}


def make(name: str, seed: int) -> None:
    print(name, flush=True)
    folder = FOLDER / name / "model"
    write_checkpoint(folder, name, seed)
    load = lambda kind: AutoModelForImageTextToText.from_pretrained(folder, dtype=kind).eval()  # noqa: E731
    models = {"float32": load(torch.float32), "bfloat16": load(torch.bfloat16)}
    models["float64"] = reference.to_float64(models["float32"])
    processor = AutoProcessor.from_pretrained(folder)
    entries, tensors, batch = {}, {}, []
    for case, messages in cases().items():
        entries[case], added, inputs = record(case, messages, models, processor)
        tensors |= added
        batch.append(inputs)
    with true_float64():
        summary, samples = gradients(models["float64"], batch)
        updates = {}
        for kind, (settings, count, optimizer) in OPTIMIZERS.items():
            copied = copy.deepcopy(models["float64"])
            updates[kind] = {"settings": settings} | steps(copied, batch, optimizer(copied.parameters(), **settings), count)
    expected = {
        "layout": CONFIGURATIONS[name][6],
        "eosIds": models["float32"].generation_config.eos_token_id,
        "cases": entries,
        "gradient": summary,
        "updates": updates,
        "bfloat16": bfloat16_distance(entries),
    }
    (FOLDER / name / "expected.json").write_text(compact(expected) + "\n")
    save_file(tensors | samples, FOLDER / name / "expected.safetensors")
    (FOLDER / name / "expected.safetensors").chmod(0o644)


def main() -> None:
    torch.set_num_threads(1)
    for name, seed in SEEDS.items():
        make(name, seed)


if __name__ == "__main__":
    main()
