"""Draws random checkpoints of families in random layouts of files, and compares what transformers makes of them with
`visurf inspect`, `score` and `generate`.

    oracle/run.sh check_variations.py
    oracle/python.sh oracle/check_variations.py [--count N] [--seed N] [FAMILY]...

What is drawn: widths, numbers and sizes of heads, patterns of layers, blocks of DeepStack, tied heads, sizes of the
vocabulary, dtypes, shards, where the chat template, the processor's settings and the special tokens stand. Prints what
was drawn and what differs; ends with 1 where anything does. The same seed draws the same.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import random
import sys
import tempfile
from unittest import mock

import tvshim  # noqa: F401  (before transformers)
import checkpoint
import configurations
import images
import internvl
import qwen3_5
import reference
import smolvlm
import torch
import transformers
from check_export import located, visurf
from tiny_qwen2_5_vl import image_part, text_part
from transformers import AutoModelForImageTextToText, AutoProcessor

TOLERANCE = 1e-4
TOKENS = 8


# Checkpoints ------------------------------------------------------------------------------------------------------------


def section(rng: random.Random, half: int) -> list[int]:
    """Frequencies of time, height and width; the later families let the axes take turns."""
    low = max(1, half // 3 - 1)
    return [half - 2 * low, low, low]


def qwen(family: str, rng: random.Random, folder: pathlib.Path) -> dict:
    kv = rng.choice([1, 2, 3])
    heads = kv * rng.choice([1, 2, 4])
    layers = rng.choice([1, 2, 3])
    eps, theta = rng.choice([1e-5, 1e-6]), rng.choice([1e4, 1e6, 5e6])
    size = rng.choice([6, 8, 10, 12, 14, 20])
    text = configurations.text(heads, kv, section(rng, size // 2), eps, theta, layers)
    text["vocab_size"] = rng.choice([346, 351, 352, 384])
    tower = {"width": 12 * rng.choice([1, 2]), "heads": rng.choice([1, 3]), "depth": rng.choice([1, 2, 4])}
    depth, width, own = tower["depth"], tower["width"], tower["heads"]
    layout = rng.choice(["hub", "nested", "v5"])
    if family == "qwen3_vl":
        # The nested layout leaves out what equals the default, and this, too.
        text |= {"head_dim": size, "hidden_size": rng.choice([24, 40, 56]), "attention_bias": layout != "nested" and rng.random() < 0.3}
        # Some may name blocks that are not there, or be more than there are layers.
        deepstack = rng.sample(range(depth + rng.choice([0, 0, 3])), rng.randint(0, depth))
        vision = configurations.positioned(depth, deepstack, rng.choice([3, 5, 16]), width, own)
    elif family == "qwen2_5_vl":
        full = rng.sample(range(depth), rng.randint(0, depth))
        vision = configurations.windowed(rng.choice([56, 84, 112]), full, depth, rng.choice([1, 2, 4]), width, own)
    else:
        vision = configurations.plain(depth, rng.choice([2, 3, 4]), width, own)
    drawn = {
        "text": text, "vision": vision, "tied": rng.random() < 0.5, "layout": layout,
        "dtype": rng.choice(["float32", "bfloat16", "float16"]), "shards": rng.choice([1, 1, 2, 5]),
    }  # fmt: skip
    tokenizer = checkpoint.make_tokenizer()
    model = configurations.build(family, dict(text), vision, drawn["tied"], rng.randrange(1 << 30), tokenizer)
    configurations.write_checkpoint(folder, model, drawn["layout"], getattr(torch, drawn["dtype"]), drawn["shards"], tokenizer)
    return drawn


def recurrent(rng: random.Random, folder: pathlib.Path) -> dict:
    keys = rng.choice([1, 2])
    values = keys * rng.choice([1, 2, 3])
    kinds = ["linear_attention", "full_attention"]
    layers = rng.choice([2, 3, 4])
    layout = rng.choice(["hub", "old", "v5"])
    # An interval names its last layer; a list may name any.
    interval = {"hub": 4, "old": 2}.get(layout)
    pattern = [kinds[(i + 1) % interval == 0] for i in range(layers)] if layout == "old" else rng.choices(kinds, k=layers)
    kv = rng.choice([1, 2])
    size, share = rng.choice([(32, 0.5), (64, 0.25), (48, 0.25), (32, 0.25), (24, 1.0)])
    rotary = int(size * share)
    text = qwen3_5.text(
        layers, kv * rng.choice([1, 2, 3]), kv, size, share, section(rng, rotary // 2), (keys, values, 64, rng.choice([64, 96])),
        rms_norm_eps=rng.choice([1e-5, 1e-6]), theta=rng.choice([1e5, 1e7]), layer_types=pattern,
        linear_conv_kernel_dim=rng.choice([2, 4]),
    )  # fmt: skip
    vision = qwen3_5.vision(rng.choice([1, 3]), *rng.choice([(24, 2), (32, 4), (36, 3)]), rng.choice([9, 36, 64]))
    drawn = {
        "text": text, "vision": vision, "tied": rng.random() < 0.5, "layout": layout,
        "dtypes": rng.choice(["mixed", "float32", "bfloat16"]), "shards": rng.choice([1, 2, 3]),
        "template": rng.choice(["qwen3_5_nothink", "qwen3_5_think", "qwen3_6"]),
    }  # fmt: skip
    tokenizer = qwen3_5.make_tokenizer(drawn["template"])
    model = qwen3_5.build(json.loads(json.dumps(text)), dict(vision), drawn["tied"], rng.randrange(1 << 30), tokenizer)
    qwen3_5.write_checkpoint(folder, model, layout, drawn["dtypes"], drawn["shards"], tokenizer)
    return drawn


def tiled(family: str, rng: random.Random, folder: pathlib.Path) -> dict:
    patch, scale, across = rng.choice([(4, 2, 8), (8, 2, 4), (13, 3, 6), (4, 4, 8), (5, 3, 9)])
    tile = patch * across + rng.choice([0, 0, patch // 3])
    kv = rng.choice([1, 2, 3])
    size = rng.choice([6, 8, 10])
    text = smolvlm.decoder(kv * rng.choice([1, 2, 3]), kv, size, num_hidden_layers=rng.choice([1, 2, 3]))
    text |= {"rope_theta": rng.choice([1e4, 1e5, 2.73e5]), "rms_norm_eps": rng.choice([1e-5, 1e-6])}
    small = {"num_hidden_layers": rng.choice([1, 2]), "intermediate_size": 36, "layer_norm_eps": rng.choice([1e-5, 1e-6])}
    vision = smolvlm.tower(across + rng.choice([0, 0, 1, 3]), patch, *rng.choice([(16, 2), (24, 3)]), **small)
    name = f"{family}-drawn"
    drawn = (
        vision, text, scale, tile, tile * rng.choice([1, 2, 3, 4]), rng.random() < 0.5,
        rng.choice(["hub", "plain", "v5", "bare"]), rng.choice(["float32", "bfloat16"]), rng.choice([1, 3]),
    )  # fmt: skip
    with mock.patch.dict(smolvlm.CONFIGURATIONS, {name: drawn}):
        smolvlm.write_checkpoint(folder, name, rng.randrange(1 << 30))
    keys = ("vision", "text", "scale", "tile", "longest", "tied", "layout", "dtype", "shards")
    return dict(zip(keys, drawn))


def by_aspect(rng: random.Random, folder: pathlib.Path) -> dict:
    patch, across, ratio = rng.choice([(4, 8, 0.5), (7, 6, 0.5), (5, 8, 0.25), (6, 4, 0.5)])
    kind, kv, size = rng.choice(["qwen2", "qwen3"]), rng.choice([1, 2]), rng.choice([8, 10, 14])
    heads = kv * rng.choice([1, 2, 3])
    own = {"head_dim": size} if kind == "qwen3" else {}
    width = rng.choice([24, 40]) if own else heads * size
    text = internvl.text(kind, heads, kv, width, rng.choice([1e4, 1e6]), rms_norm_eps=rng.choice([1e-5, 1e-6]), **own)
    vision = internvl.tower(
        across, patch, *rng.choice([(16, 2), (24, 3)]), tile=across * patch + rng.choice([0, 0, 3]), num_hidden_layers=rng.choice([1, 3]),
        attention_bias=rng.random() < 0.5, use_qk_norm=rng.random() < 0.5, norm_type=rng.choice(["layer_norm", "rms_norm"]),
    )  # fmt: skip
    drawn = (
        text, vision, ratio, rng.choice([1, 3, 6, 12]), rng.random() < 0.5,
        rng.choice(["hub", "v5", "plain"]), rng.choice(["float32", "bfloat16"]), rng.choice([1, 3]),
    )  # fmt: skip
    with mock.patch.dict(internvl.CONFIGURATIONS, {"drawn": drawn}):
        internvl.write_checkpoint(folder, "drawn", rng.randrange(1 << 30))
    return dict(zip(("text", "vision", "ratio", "most", "tied", "layout", "dtype", "shards"), drawn))


# Those whose images are cut into tiles.
BUILDS = {"smolvlm": smolvlm.BUILD, "idefics3": smolvlm.BUILD, "internvl": internvl.BUILD}

FAMILIES = {
    "qwen3_vl": lambda rng, folder: qwen("qwen3_vl", rng, folder),
    "qwen3_5": recurrent,
    "smolvlm": lambda rng, folder: tiled("smolvlm", rng, folder),
    "idefics3": lambda rng, folder: tiled("idefics3", rng, folder),
    "internvl": by_aspect,
    "qwen2_5_vl": lambda rng, folder: qwen("qwen2_5_vl", rng, folder),
    "qwen2_vl": lambda rng, folder: qwen("qwen2_vl", rng, folder),
}


# Layouts of the small files ---------------------------------------------------------------------------------------------


def read(folder: pathlib.Path, name: str) -> dict:
    file = folder / name
    return json.loads(file.read_text()) if file.exists() else {}


def write(folder: pathlib.Path, name: str, value: object) -> None:
    (folder / name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def move_template(folder: pathlib.Path, rng: random.Random) -> str:
    jinja = folder / "chat_template.jinja"
    template = jinja.read_text() if jinja.exists() else read(folder, "chat_template.json")["chat_template"]
    place = rng.choice(["jinja", "json", "tokenizer", "list", "as it was"])
    if place == "as it was":
        return place
    jinja.unlink(missing_ok=True)
    (folder / "chat_template.json").unlink(missing_ok=True)
    config = read(folder, "tokenizer_config.json")
    config.pop("chat_template", None)
    if place == "jinja":
        jinja.write_text(template)
    elif place == "json":
        write(folder, "chat_template.json", {"chat_template": template})
    elif place == "tokenizer":
        config["chat_template"] = template
    else:
        config["chat_template"] = [{"name": "default", "template": template}, {"name": "tool_use", "template": "{{ 1 }}"}]
    write(folder, "tokenizer_config.json", config)
    return place


def move_tokens(folder: pathlib.Path, rng: random.Random) -> str:
    """Which file names the special tokens, and which says that they are special."""
    file, config = read(folder, "tokenizer.json"), read(folder, "tokenizer_config.json")
    added = file["added_tokens"]
    decoder = {str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in added}
    special = [token["content"] for token in added if token["special"]]
    place = rng.choice(["both", "config alone", "last in config", "flags in config", "listed", "extra", "as it was", "old files"])
    if place in ("both", "config alone", "last in config", "flags in config", "old files"):
        config["added_tokens_decoder"] = decoder
    if place == "config alone":
        file["added_tokens"] = []
    elif place == "last in config":
        file["added_tokens"] = added[: rng.randrange(1, len(added))]
    elif place in ("flags in config", "listed", "extra"):
        for token in added:
            token["special"] = token["special"] and token["content"] in (config.get("eos_token"), config.get("pad_token"))
    if place == "listed":
        config["additional_special_tokens"] = special
    elif place == "extra":
        config["extra_special_tokens"] = special
    # Of Qwen's first tokenizers: the reference's of Qwen3.5 then gives other ids to its own tokens.
    elif place == "old files" and "image_token" not in config and read(folder, "config.json")["model_type"] != "qwen3_5":
        write(folder, "vocab.json", file["model"]["vocab"])
        merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in file["model"]["merges"]]
        (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{pair}\n" for pair in merges))
        (folder / "tokenizer.json").unlink()
        write(folder, "tokenizer_config.json", config)
        return place
    write(folder, "tokenizer.json", file)
    write(folder, "tokenizer_config.json", config)
    return place


def move_processor(folder: pathlib.Path, rng: random.Random) -> str:
    whole = read(folder, "processor_config.json")
    image, video = read(folder, "preprocessor_config.json"), read(folder, "video_preprocessor_config.json")
    if not image and "image_processor" in whole and rng.random() < 0.5:
        write(folder, "preprocessor_config.json", whole.pop("image_processor"))
        if "video_processor" in whole:
            write(folder, "video_preprocessor_config.json", whole.pop("video_processor"))
        write(folder, "processor_config.json", whole)
        return "out of processor_config.json"
    # The reference then takes the videos of later families for Qwen2-VL's.
    clips = read(folder, "config.json")["model_type"] in ("qwen2_vl", "qwen2_5_vl")
    if clips and image and video and rng.random() < 0.3:
        (folder / "video_preprocessor_config.json").unlink()
        return "nothing of videos"
    if image and rng.random() < 0.5:
        kind = next((name for name in ("SmolVLM", "Qwen2VL") if name in image["image_processor_type"]), None)
        moving = video or (image | {"video_processor_type": f"{kind}VideoProcessor"} if kind else {})
        whole |= {"image_processor": image} | ({"video_processor": moving} if moving else {})
        for name in ("preprocessor_config.json", "video_preprocessor_config.json"):
            (folder / name).unlink(missing_ok=True)
        write(folder, "processor_config.json", whole | {"processor_class": image.get("processor_class", whole.get("processor_class"))})
        return "into processor_config.json"
    return "as it was"


def scale_rope(folder: pathlib.Path, rng: random.Random) -> str:
    """Rotary embeddings of an extended reach, in the form in which the file has them."""
    file = read(folder, "config.json")
    text = file.get("text_config", file)
    kind = rng.choice(["as it was", "as it was", "linear", "dynamic", "yarn", "llama3"])
    if kind == "as it was" or not ("rope_theta" in text or "rope_parameters" in text):
        return "as it was"
    numbers = {"factor": rng.choice([2.0, 3.5])}
    if kind in ("yarn", "llama3"):
        numbers["original_max_position_embeddings"] = rng.choice([64, 512])
    if kind == "llama3":
        numbers |= {"low_freq_factor": rng.choice([1.0, 1.5]), "high_freq_factor": 4.0}
    name = "rope_parameters" if "rope_parameters" in text else "rope_scaling"
    text[name] = (text.get(name) or {}) | {"rope_type": kind} | numbers
    if name == "rope_scaling":
        text[name]["type"] = kind
    write(folder, "config.json", file)
    return kind


def forget_tie(folder: pathlib.Path, rng: random.Random) -> str:
    """Published InternVL's say nothing of it, and their heads are not tied."""
    file = read(folder, "config.json")
    if file["model_type"] != "internvl" or rng.random() < 0.5:
        return "as it was"
    for part in (file, file["text_config"]):
        part.pop("tie_word_embeddings", None)
    write(folder, "config.json", file)
    return "unsaid"


def limit_area(folder: pathlib.Path, rng: random.Random) -> str:
    """Settings that say the same in other words, or ask for something else."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        file = read(folder, name)
        image = file.get("image_processor", file)
        if "max_image_size" in image and rng.random() < 0.3:
            image["do_image_splitting"] = False
            write(folder, name, file)
            return "not split"
        # Where images' settings stand for those of videos the reference would fall back on a class's.
        apart = (folder / "video_preprocessor_config.json").exists() or "video_processor" in file
        if apart and "shortest_edge" in image.get("size", {}) and rng.random() < 0.5:
            size = image.pop("size")
            image |= {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
            write(folder, name, file)
            return "min_pixels and max_pixels"
    return "as it was"


def disguise(folder: pathlib.Path, rng: random.Random) -> dict:
    drawn = {"template": move_template(folder, rng), "tokens": move_tokens(folder, rng), "processor": move_processor(folder, rng)}
    drawn |= {"rope": scale_rope(folder, rng), "tie": forget_tie(folder, rng), "area": limit_area(folder, rng)}
    if rng.random() < 0.3 and (folder / "generation_config.json").exists():
        (folder / "generation_config.json").unlink()
        drawn["generation_config"] = "none"
    return drawn


# Comparisons ------------------------------------------------------------------------------------------------------------


def conversations(family: str) -> dict[str, tuple[list[str], list[dict]]]:
    """Options of the command line, and the messages that they stand for."""
    wide, tall = "wide-150x62.png", "tall-45x160.png"
    small, frames = "small-40x40.png", [f"frame-{i}-84x60.png" for i in range(5)]
    path = lambda name: str(images.FOLDER / name)  # noqa: E731
    system = {"role": "system", "content": [text_part("Be brief.")]}
    several = [system, {"role": "user", "content": [image_part(wide), image_part(tall), text_part("Where is it?\n")]}]
    plain = [{"role": "user", "content": [text_part("Where is 42? 漢字")]}]
    turns = [
        {"role": "user", "content": [text_part("first "), image_part(small), text_part(" which?")]},
        {"role": "assistant", "content": [text_part("the red circle")]},
        {"role": "user", "content": [image_part(tall), text_part("and here?")]},
    ]
    spoken = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is 42?"}]
    found = {
        "several": (["--image", path(wide), "--image", path(tall), "--system", "Be brief.", "--prompt", "Where is it?\n"], several),
        "plain": (["--prompt", "Where is 42? 漢字"], plain),
        "turns": ([], turns),
    }
    if BUILDS.get(family) is not smolvlm.BUILD:  # whose template sees nothing of plain strings
        found["spoken"] = ([], spoken)
    if family not in BUILDS:
        moving = [{"role": "user", "content": [configurations.video_part(frames, 3.0), image_part(small), text_part("what moves?")]}]
        found["video"] = ([], moving)
    return found


def encoded(family: str, processor, messages: list[dict]):
    return BUILDS[family].encode(processor, messages) if family in BUILDS else reference.encode_messages(processor, messages)


@torch.no_grad()
def scored(family: str, model, inputs, tokens: list[int]) -> torch.Tensor:
    out = BUILDS[family].forward(model, inputs, tokens) if family in BUILDS else reference.forward(model, inputs, tokens)[0]
    return reference.response_log_probs(out.logits, tokens)


def moments(pixels: torch.Tensor) -> dict:
    return {"shape": list(pixels.shape), "mean": pixels.mean(), "std": pixels.std(), "min": pixels.min(), "max": pixels.max()}


def inspected(family: str, rendered: str, inputs) -> dict:
    """What `inspect` says, by the reference."""
    pixels = [inputs[key] for key in ("pixel_values", "pixel_values_videos") if key in inputs]
    joined = (BUILDS[family].tiles(inputs) if family in BUILDS else torch.cat(pixels)) if pixels else None
    grids = [] if family in BUILDS or "image_grid_thw" not in inputs else inputs["image_grid_thw"].tolist()
    # A picture has one placeholder in the text that was rendered, however many tokens it takes.
    return {"rendered": rendered, "inputIds": inputs["input_ids"][0].tolist(), "imageGridThw": grids,
            "pixelValues": moments(joined) if joined is not None else None}  # fmt: skip


def differing(ours: dict, theirs: dict) -> list[str]:
    found = [key for key in ("rendered", "inputIds", "imageGridThw") if ours[key] != theirs[key]]
    mine, yours = ours["pixelValues"], theirs["pixelValues"]
    if (mine is None) != (yours is None):
        return [*found, "pixelValues"]
    if mine is not None:
        found += ["shape"] if mine["shape"] != yours["shape"] else []
        found += [key for key in ("mean", "std", "min", "max") if abs(mine[key] - float(yours[key])) > 1e-5]
    return found


def compare(family: str, folder: pathlib.Path, rng: random.Random, scratch: pathlib.Path) -> list[str]:
    processor = AutoProcessor.from_pretrained(folder)
    if processor.chat_template is None:  # it stands with the tokenizer
        template = processor.tokenizer.chat_template
        processor.chat_template = template if isinstance(template, str) else template["default"]
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    failures = []
    for name, (options, messages) in conversations(family).items():
        rendered, inputs = encoded(family, processor, messages)
        if not options:
            file = scratch / "messages.json"
            file.write_text(json.dumps(located(messages)))
            options = ["--messages", str(file)]
        given = ["--model", folder, *options]
        ours = visurf("inspect", *given)
        failures += [f"{name}: {each}" for each in differing(ours, inspected(family, rendered, inputs))]
        tokens = [rng.randrange(3, 300) for _ in range(TOKENS)]  # none that stands for a part of an image
        ids = ",".join(map(str, tokens))
        distance = (torch.tensor(visurf("score", *given, "--response-ids", ids)["logProbs"]) - scored(family, model, inputs, tokens)).abs().max()
        failures += [f"{name}: log-probabilities by {float(distance):.1e}"] if not distance < TOLERANCE else []
        if name in ("several", "video"):
            expected, lead = reference.greedy(model, inputs, TOKENS, 1.0)
            said = visurf("generate", *given, "--max-new-tokens", TOKENS)["tokens"]
            failures += [f"{name}: greedy {said}, not {expected}"] if said != expected and lead > TOLERANCE else []
    return failures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="*", default=[*FAMILIES])
    parser.add_argument("--count", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.disable_progress_bar()
    failed = 0
    for family in given.families:
        for number in range(given.seed, given.seed + given.count):
            rng = random.Random(f"{family}/{number}")
            with tempfile.TemporaryDirectory() as scratch:
                folder = pathlib.Path(scratch) / "model"
                try:
                    drawn = FAMILIES[family](rng, folder) | {"files": disguise(folder, rng)}
                    failures = compare(family, folder, rng, pathlib.Path(scratch))
                except Exception as error:  # one that cannot be read is a difference
                    failures = [f"{type(error).__name__}: {error}"]
            failed += bool(failures)
            print(f"{'FAIL' if failures else 'ok  '} {family} {number}: {json.dumps(drawn)}", flush=True)
            for each in failures:
                print(f"     {each}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
