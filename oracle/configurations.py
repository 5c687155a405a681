"""Makes fixtures/configurations/: small random checkpoints of families in every layout of files, and what the reference
computes with each of them: all of them, or those that are named.

    oracle/run.sh configurations.py
    oracle/python.sh oracle/configurations.py [NAME]...

Every checkpoint is written as its layout has it and then loaded by transformers, so that the numbers are those of the files
as they are. README.md in this folder describes them.
"""

from __future__ import annotations

import copy
import hashlib
import json
import pathlib
import shutil
import sys

import checkpoint
import images
import reference
import torch
from safetensors.torch import save_file
from tiny_qwen2_5_vl import compact, image_part, named, text_part
from transformers import AutoModelForImageTextToText, AutoProcessor, Qwen2VLConfig, Qwen2VLForConditionalGeneration
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

FOLDER = pathlib.Path(__file__).parent / "fixtures" / "configurations"
MIN_PIXELS, MAX_PIXELS = 4 * 28 * 28, 16 * 28 * 28
# Of Qwen3-VL: of an image, and of all frames of a video together (one of two frames grows, longer ones shrink).
PIXELS, VOLUME = (4 * 32 * 32, 16 * 32 * 32), (16_000, 20_000)
TOKENS = 10  # of greedy decoding
SAMPLES = 48  # of a gradient
WITNESSES = 4  # of a parameter after steps
CLASSES = {
    "qwen2_vl": (Qwen2VLConfig, Qwen2VLForConditionalGeneration),
    "qwen2_5_vl": (Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration),
    "qwen3_vl": (Qwen3VLConfig, Qwen3VLForConditionalGeneration),
}


def text(heads: int, kv: int, section: list[int], eps: float, theta: float, layers: int = 2) -> dict:
    return {
        "hidden_size": heads * 2 * sum(section),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "intermediate_size": 40,
        "max_position_embeddings": 2048,
        "rms_norm_eps": eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": theta, "mrope_section": section},
    }


def windowed(window: int, full: list[int], depth: int, per_second: int, width: int = 16, heads: int = 2) -> dict:
    return {
        "hidden_size": width,
        "depth": depth,
        "num_heads": heads,
        "intermediate_size": 36,
        "window_size": window,
        "fullatt_block_indexes": full,
        "tokens_per_second": per_second,
    }


def plain(depth: int, ratio: int, width: int = 16, heads: int = 2) -> dict:
    return {"embed_dim": width, "depth": depth, "num_heads": heads, "mlp_ratio": ratio}


def headed(heads: int, kv: int, size: int, width: int, section: list[int], eps: float, theta: float, layers: int) -> dict:
    """Heads whose size does not follow from the width of the stream."""
    own = {"head_dim": size, "hidden_size": width}
    return text(heads, kv, section, eps, theta, layers) | own


def positioned(depth: int, deepstack: list[int], side: int, width: int = 16, heads: int = 2) -> dict:
    return {
        "hidden_size": width,
        "depth": depth,
        "num_heads": heads,
        "intermediate_size": 36,
        "num_position_embeddings": side * side,
        "deepstack_visual_indexes": deepstack,
    }


# family, parts, tied head, layout of files, dtype of the file, shards
CONFIGURATIONS = {
    # Windows of 2 x 2 merged patches, full attention first; one key head for four query heads.
    "qwen2_5-hub": ("qwen2_5_vl", text(4, 1, [1, 2, 1], 1e-6, 1e6), windowed(56, [0], 3, 2), True, "hub", "bfloat16", 3),
    # Windows of 4 x 4, full attention last; as many key heads as query heads; tied by text_config alone.
    "qwen2_5-nested": ("qwen2_5_vl", text(4, 4, [2, 1, 1], 1e-5, 5e3), windowed(112, [1, 2], 3, 4), True, "nested", "float32", 1),
    # Windows of 3 x 3 that divide no grid, full attention nowhere but in the middle; twice as many query heads.
    "qwen2_5-v5": ("qwen2_5_vl", text(2, 1, [2, 3, 3], 1e-6, 1e4), windowed(84, [1], 3, 3, 24, 3), False, "v5", "bfloat16", 1),
    # Windows everywhere.
    "qwen2_5-windows": ("qwen2_5_vl", text(6, 3, [1, 1, 2], 1e-5, 1e6), windowed(56, [], 2, 4), False, "hub", "float32", 1),
    "qwen2-hub": ("qwen2_vl", text(4, 2, [1, 1, 2], 1e-6, 1e6), plain(2, 4), True, "hub", "bfloat16", 1),
    "qwen2-v5": ("qwen2_vl", text(4, 1, [2, 2, 2], 1e-5, 1e4), plain(3, 2, 24, 3), False, "v5", "float32", 2),
    "qwen2-nested": ("qwen2_vl", text(2, 2, [2, 3, 3], 1e-6, 1e4), plain(2, 3, 32, 2), False, "nested", "bfloat16", 1),
    # A table of positions coarser than most grids; heads wider than the stream; two additions to a decoder of four layers.
    "qwen3_vl-hub": ("qwen3_vl", headed(4, 2, 12, 32, [2, 2, 2], 1e-6, 5e6, 4), positioned(3, [0, 2], 4), True, "hub", "bfloat16", 3),
    # As many additions as layers; a table finer than the grids; as many key heads as query heads, narrower than the stream.
    "qwen3_vl-nested": ("qwen3_vl", headed(2, 2, 16, 40, [4, 2, 2], 1e-5, 1e4, 3), positioned(4, [0, 1, 3], 9, 24, 3), False, "nested", "float32", 1),
    # A Thinking model: the prompt opens a thought.
    "qwen3_vl-v5": ("qwen3_vl", headed(4, 1, 16, 32, [3, 3, 2], 1e-6, 2e2, 3), positioned(3, [1], 6, 32, 2), False, "v5", "bfloat16", 2),
}


def video_part(frames: list[str], fps: float) -> dict:
    return {"type": "video", "video": frames, "fps": fps}


def cases() -> dict[str, list[dict]]:
    wide = images.draw("wide-150x62", 150, 62, seed=11)
    tall = images.draw("tall-45x160", 45, 160, seed=12)
    square = images.draw("square-100x98", 100, 98, seed=13)
    frames = [images.draw(f"frame-{i}-84x60", 84, 60, seed=20 + i) for i in range(5)]
    return {
        "one-image": [{"role": "user", "content": [image_part(square), text_part("find the red circle")]}],
        "three-images": [
            {"role": "system", "content": [text_part("Be brief.")]},
            {"role": "user", "content": [text_part("first"), image_part(wide), image_part(tall), text_part(" which?")]},
            {"role": "assistant", "content": [text_part("the blue square")]},
            {"role": "user", "content": [image_part(square), text_part("and here?")]},
        ],
        "text": [{"role": "user", "content": "Where is 42? 漢字"}],
        # Five frames make three temporal patches: the last is repeated. In time they reach further than the text behind them.
        "video": [{"role": "user", "content": [video_part(frames, 0.25), text_part("what moves?")]}],
        "image-and-videos": [
            {
                "role": "user",
                "content": [
                    video_part(frames[:2], 24.0),
                    text_part("then"),
                    image_part(tall),
                    text_part("and"),
                    video_part(frames[1:], 3.0),
                    text_part("?"),
                ],
            }
        ],
    }


def responses(tokenizer, name: str) -> list[dict]:
    ids = lambda value: tokenizer(value)["input_ids"]  # noqa: E731
    generator = torch.Generator().manual_seed(len(name))
    return [
        {"tokens": ids("<answer>[]</answer><|im_end|>"), "weight": 1.5},
        {"tokens": torch.randint(0, 320, (20 + len(name) % 4,), generator=generator).tolist(), "weight": -0.75},
    ]


# Files ------------------------------------------------------------------------------------------------------------------


def build(family: str, text_config: dict, vision: dict, tied: bool, seed: int, tokenizer):
    token = tokenizer.convert_tokens_to_ids
    width = text_config["hidden_size"]
    special = {"bos_token_id": token("<|endoftext|>"), "eos_token_id": token("<|im_end|>"), "pad_token_id": token("<|endoftext|>")}
    config = CLASSES[family][0](
        text_config={"vocab_size": 352, "tie_word_embeddings": tied, **special, **text_config},
        vision_config={**vision, ("hidden_size" if family == "qwen2_vl" else "out_hidden_size"): width},
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=tied,
    )
    config.dtype = torch.float32
    torch.manual_seed(seed)
    model = CLASSES[family][1](config).eval()
    checkpoint.spread_weights(model, seed)
    return model


def config_file(config: dict, layout: str, tied: bool) -> dict:
    """config.json as `layout` has it: `hub` is flat, `nested` has text_config with rope_scaling, `v5` is what is saved today."""
    if layout == "v5":
        return config
    if config["model_type"] == "qwen3_vl":
        return qwen3_config_file(config, layout)
    nested, vision = dict(config["text_config"]), dict(config["vision_config"])
    for key in ("layer_types", "dtype", "model_type", "tie_word_embeddings"):
        nested.pop(key, None)
    rope = nested.pop("rope_parameters")
    nested["rope_theta"] = rope["rope_theta"]
    kind = "mrope" if layout == "hub" else "default"
    nested["rope_scaling"] = {"type": kind, "mrope_section": rope["mrope_section"]}
    if layout == "nested":
        nested["rope_scaling"]["rope_type"] = kind
    vision["in_chans"] = vision.pop("in_channels")
    vision["spatial_patch_size"] = vision["patch_size"]
    for key in ("rope_parameters", "dtype", "initializer_range", "model_type"):
        vision.pop(key, None)
    top = {key: value for key, value in config.items() if key not in ("text_config", "vision_config", "dtype", "tie_word_embeddings")}
    top |= {"vision_config": vision, "torch_dtype": "bfloat16", "transformers_version": "4.41.2"}
    if layout == "hub":
        return top | nested | {"tie_word_embeddings": tied}
    # Older versions left out what equals the default.
    for key in ("patch_size", "temporal_patch_size", "spatial_merge_size", "hidden_act"):
        vision.pop(key, None)
        nested.pop(key, None)
    return top | {"text_config": nested | {"tie_word_embeddings": tied, "model_type": f"{config['model_type']}_text"}}


def qwen3_config_file(config: dict, layout: str) -> dict:
    """Qwen3-VL's files are nested; before `rope_parameters` they had `rope_theta`, and the tower the name of the whole."""
    nested, vision = dict(config["text_config"]), dict(config["vision_config"])
    rope = nested.pop("rope_parameters")
    kind = "rope_type" if layout == "hub" else "type"
    nested |= {"rope_theta": rope["rope_theta"], "rope_scaling": {kind: "default", "mrope_section": rope["mrope_section"]}}
    vision |= {"model_type": "qwen3_vl"}
    if layout == "hub":
        nested["rope_scaling"]["mrope_interleaved"] = True
    else:
        # What equals the default may be left out.
        for part, keys in ((vision, ("patch_size", "temporal_patch_size", "spatial_merge_size", "hidden_act", "in_channels")),
                           (nested, ("hidden_act", "attention_bias", "max_position_embeddings", "model_type"))):
            for key in keys:
                part.pop(key, None)
    for part in (nested, vision):
        for key in ("rope_parameters", "dtype", "layer_types", "initializer_range"):
            part.pop(key, None)
    rest = {key: value for key, value in config.items() if key not in ("text_config", "vision_config", "dtype")}
    return rest | {"text_config": nested, "vision_config": vision, "transformers_version": "4.57.0.dev0"}


def weights(model, layout: str, dtype: torch.dtype, shards: int, folder: pathlib.Path) -> None:
    """Files of the hub say `model.*` and `visual.*`, but those of Qwen3-VL; they, and the nested layout here, keep the names
    that the model has in memory."""
    in_memory = layout == "nested" or model.config.model_type == "qwen3_vl"
    pairs = model.named_parameters() if in_memory else named(model).items()
    tensors = {key: value.detach().to(dtype).contiguous() for key, value in pairs}
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        return
    names = list(tensors)
    cuts = [names[i::shards] for i in range(shards)]
    index = {"metadata": {"total_size": sum(t.numel() * t.element_size() for t in tensors.values())}, "weight_map": {}}
    for i, cut in enumerate(cuts):
        file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        save_file({key: tensors[key] for key in cut}, folder / file, {"format": "pt"})
        index["weight_map"] |= dict.fromkeys(cut, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def processor_files(folder: pathlib.Path, layout: str) -> None:
    """What `save_pretrained` wrote, as older versions had it."""
    if layout == "v5":
        return
    saved = json.loads((folder / "processor_config.json").read_text())
    template = (folder / "chat_template.jinja").read_text()
    (folder / "processor_config.json").unlink()
    image, video = saved["image_processor"], saved["video_processor"]
    write = lambda name, value: (folder / name).write_text(json.dumps(value, indent=1) + "\n")  # noqa: E731
    if layout == "nested" or saved["processor_class"] == "Qwen3VLProcessor":
        write("preprocessor_config.json", image)
        write("video_preprocessor_config.json", video)
    if layout == "nested":
        return
    (folder / "chat_template.jinja").unlink()
    write("chat_template.json", {"chat_template": template})
    if saved["processor_class"] == "Qwen3VLProcessor":
        return
    size = image.pop("size")
    image |= {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"], "processor_class": saved["processor_class"]}
    write("preprocessor_config.json", image)
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    write("tokenizer_config.json", tokenizer | {"chat_template": template, "tokenizer_class": "Qwen2Tokenizer"})


def write_checkpoint(folder: pathlib.Path, model, layout: str, dtype: torch.dtype, shards: int, tokenizer) -> None:
    tied = model.config.tie_word_embeddings
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    processor = checkpoint.make_processor(tokenizer, MIN_PIXELS, MAX_PIXELS)
    if model.config.model_type == "qwen2_vl":
        from transformers import Qwen2VLProcessor

        processor = Qwen2VLProcessor(processor.image_processor, tokenizer, processor.video_processor, checkpoint.CHAT_TEMPLATE)
    if model.config.model_type == "qwen3_vl":
        template = checkpoint.QWEN3_THINKING_TEMPLATE if layout == "v5" else checkpoint.QWEN3_TEMPLATE
        processor = checkpoint.make_qwen3_processor(tokenizer, PIXELS, VOLUME, template)
    processor.save_pretrained(folder)
    checkpoint.tidy_tokenizer(folder)
    processor_files(folder, layout)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    saved = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config_file(saved, layout, tied), indent=1) + "\n")
    weights(model, layout, dtype, shards, folder)
    if layout == "hub":
        token = model.config.text_config
        generation = {"eos_token_id": [token.eos_token_id, token.bos_token_id], "repetition_penalty": 1.3, "do_sample": True, "top_k": 1}
        (folder / "generation_config.json").write_text(json.dumps(generation, indent=1) + "\n")
    for file in folder.iterdir():
        file.chmod(0o644)


# Numbers ----------------------------------------------------------------------------------------------------------------


def digest(pixels: torch.Tensor, image_processor) -> str:
    """sha256 of the bytes that patches were before they were normalised."""
    mean, std = torch.tensor(image_processor.image_mean), torch.tensor(image_processor.image_std)
    values = pixels.double().view(pixels.shape[0], 3, -1) * std[:, None] + mean[:, None]
    return hashlib.sha256((values * 255).round().to(torch.uint8).numpy().tobytes()).hexdigest()


def thin(value: torch.Tensor, count: int) -> torch.Tensor:
    """At most `count` elements at flat indices 0, s, 2s, .., s odd above 1."""
    step = -(-value.numel() // count)
    return value.flatten()[:: step if step == 1 else step | 1].clone()


def hidden_states(model, inputs, tokens: list[int]) -> dict[str, torch.Tensor]:
    taken: dict[str, torch.Tensor] = {}
    keep = lambda key: lambda _m, _a, out: taken.__setitem__(key, out[0] if isinstance(out, tuple) else out)  # noqa: E731
    layers = model.model.language_model.layers
    add = getattr(model.model.language_model, "_deepstack_process", None)
    if add:  # after a layer: what is added belongs to its stream
        model.model.language_model._deepstack_process = lambda *given: taken.__setitem__([*taken][-1], add(*given)) or [*taken.values()][-1]
    hooks = [layer.register_forward_hook(keep(f"layers.{i}")) for i, layer in enumerate(layers)]
    with torch.no_grad():
        reference.forward(model, inputs, tokens)
        for hook in hooks:
            hook.remove()
        if add:
            del model.model.language_model._deepstack_process
        for kind, call in (("image", model.model.get_image_features), ("video", model.model.get_video_features)):
            pixels = inputs.get("pixel_values" if kind == "image" else "pixel_values_videos")
            if pixels is not None:
                taken[f"{kind}Features"] = torch.cat(list(call(pixels, inputs[f"{kind}_grid_thw"]).pooler_output))
    return {key: value.reshape(-1, value.shape[-1]).contiguous() for key, value in taken.items()}


def record(name: str, messages: list[dict], models: dict, processor) -> tuple[dict, dict, dict]:
    rendered, inputs = reference.encode_messages(processor, messages)
    prompt = inputs["input_ids"][0].tolist()
    entry: dict = {"messages": messages, "rendered": rendered, "inputIds": prompt}
    tensors: dict[str, torch.Tensor] = {}
    for kind, key in (("image", "pixel_values"), ("video", "pixel_values_videos")):
        entry[f"{kind}GridThw"] = inputs[f"{kind}_grid_thw"].tolist() if key in inputs else []
        if key in inputs:
            entry[f"{kind}PixelsSha256"] = digest(inputs[key], processor.image_processor)
            tensors[f"{kind}Pixels"] = thin(inputs[key], 512)
    members = responses(processor.tokenizer, name)
    entry["responses"] = []
    for index, member in enumerate(members):
        tokens = member["tokens"]
        with torch.no_grad():
            out, positions = reference.forward(models["float32"], inputs, tokens)
            half, _ = reference.forward(models["bfloat16"], inputs, tokens)
            with reference.true_float64():
                exact, _ = reference.forward(models["float64"], inputs, tokens)
        if index == 0:
            tensors["logits"] = out.logits[0, -len(tokens) - 1 : -1].clone()
        score = lambda result: reference.response_log_probs(result.logits.double(), tokens).tolist()  # noqa: E731
        entry["responses"].append(
            member | {"logProbs": score(out), "logProbs64": score(exact), "logProbsBfloat16": score(half)}
        )
    entry["positionIds"] = positions[:, : len(prompt)].tolist()
    tensors |= hidden_states(models["float32"], inputs, members[0]["tokens"])
    entry["greedy"] = {}
    for penalty in (1.0, 1.3):
        tokens, lead = reference.greedy(models["float32"], inputs, TOKENS, penalty)
        entry["greedy"][str(penalty)] = {"tokens": tokens, "lead": lead}
    print(f"  {name}: {len(prompt)} tokens, leads {[round(g['lead'], 3) for g in entry['greedy'].values()]}", flush=True)
    return entry, {f"{name}.{key}": value.contiguous() for key, value in tensors.items()}, {"inputs": inputs, "members": members}


def objective(model, batch: list[dict]) -> torch.Tensor:
    """sum over cases and responses of weight * sum_t log pi(token_t)"""
    terms = []
    for each in batch:
        for member in each["members"]:
            out, _ = reference.forward(model, each["inputs"], member["tokens"])
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
    """Gradient descent on the objective; of every parameter, how far it moved and a few of its values."""
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


OPTIMIZERS = {
    "sgd": ({"lr": 1e-4}, 1, torch.optim.SGD),
    "adamw": ({"lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}, 3, torch.optim.AdamW),
}


def bfloat16_distance(entries: dict) -> dict:
    """How far the reference's own bfloat16 is from its float32, over the log-probabilities of all responses."""
    pairs = [
        (a, b)
        for entry in entries.values()
        for response in entry["responses"]
        for a, b in zip(response["logProbsBfloat16"], response["logProbs"])
    ]
    difference = torch.tensor([a - b for a, b in pairs], dtype=torch.float64)
    return {"max": float(difference.abs().max()), "rms": float(difference.square().mean().sqrt())}


def make(name: str, seed: int, tokenizer) -> None:
    family, text_config, vision, tied, layout, dtype, shards = CONFIGURATIONS[name]
    print(name, flush=True)
    model = build(family, text_config, vision, tied, seed, tokenizer)
    folder = FOLDER / name / "model"
    write_checkpoint(folder, model, layout, getattr(torch, dtype), shards, tokenizer)
    load = lambda kind: AutoModelForImageTextToText.from_pretrained(folder, dtype=kind).eval()  # noqa: E731
    models = {"float32": load(torch.float32), "bfloat16": load(torch.bfloat16)}
    models["float64"] = reference.to_float64(models["float32"])
    write_expected(name, layout, models, AutoProcessor.from_pretrained(folder), cases())


def write_expected(name: str, layout: str, models: dict, processor, conversations: dict[str, list[dict]]) -> None:
    """What the reference computes with a checkpoint, by dtype of the model."""
    entries, tensors, batch = {}, {}, []
    for case, messages in conversations.items():
        entries[case], added, inputs = record(case, messages, models, processor)
        tensors |= added
        batch.append(inputs)
    with reference.true_float64():
        summary, samples = gradients(models["float64"], batch)
        updates = {}
        for kind, (settings, count, optimizer) in OPTIMIZERS.items():
            copied = copy.deepcopy(models["float64"])
            updates[kind] = {"settings": settings} | steps(copied, batch, optimizer(copied.parameters(), **settings), count)
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


def main() -> None:
    torch.set_num_threads(1)
    for seed, name in enumerate(CONFIGURATIONS):
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        make(name, 100 + seed, checkpoint.make_tokenizer())


if __name__ == "__main__":
    main()
