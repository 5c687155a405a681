"""Opens what visurf exports with transformers and PEFT, and compares log-probabilities with those of `visurf score`.

    oracle/run.sh check_export.py
    oracle/python.sh oracle/check_export.py [CHECKPOINT]...

Exports a small checkpoint of each family in shards and in bfloat16, trains an adapter on it, and trains all weights;
merges adapters that PEFT made. Prints the largest distance of each comparison; ends with 1 where one is above its tolerance.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import reference
import torch
from peft import AutoPeftModel, PeftModel
from transformers import AutoModelForImageTextToText, AutoProcessor

import images
import internvl
import smolvlm

ROOT = pathlib.Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "oracle" / "fixtures"
FOLDER = FIXTURES / "tiny-qwen2_5-vl"
NAMES = ["qwen3_vl-nested", "qwen3_vl-v5", "qwen3_5-hub", "smolvlm-odd", "smolvlm-v5", "idefics3-hub", "internvl-hub", "internvl-whole"]
CHECKPOINTS = [FOLDER, *(FIXTURES / "configurations" / name for name in NAMES)]

# Those whose images are cut into tiles.
BUILDS = {"SmolVLMProcessor": smolvlm.BUILD, "Idefics3Processor": smolvlm.BUILD, "InternVLProcessor": internvl.BUILD}

# float32 on both sides; products in bfloat16 are not compared.
TOLERANCE = 1e-4


def visurf(*args) -> dict:
    command = [ROOT / "visurf", *map(str, args), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def located(messages: list[dict]) -> list[dict]:
    """With absolute paths of the images."""
    messages = json.loads(json.dumps(messages))
    for message in messages:
        if isinstance(message["content"], list):
            for part in message["content"]:
                if "image" in part:
                    part["image"] = str(images.FOLDER / part["image"])
                if "video" in part:
                    part["video"] = [str(images.FOLDER / file) for file in part["video"]]
    return messages


def ours(model: pathlib.Path, case: dict, tokens: list[int], scratch: pathlib.Path) -> torch.Tensor:
    file = scratch / "messages.json"
    file.write_text(json.dumps(located(case["messages"])))
    ids = ",".join(map(str, tokens))
    scored = visurf("score", "--model", model, "--messages", file, "--response-ids", ids)
    return torch.tensor(scored["logProbs"])


@torch.no_grad()
def theirs(model, processor, case: dict, tokens: list[int]) -> torch.Tensor:
    build = BUILDS.get(type(processor).__name__)
    if build:
        out = build.forward(model, build.encode(processor, case["messages"])[1], tokens)
        return reference.response_log_probs(out.logits, tokens)
    _, inputs = reference.encode_messages(processor, case["messages"])
    out, _ = reference.forward(model, inputs, tokens)
    return reference.response_log_probs(out.logits, tokens)


def distance(directory: pathlib.Path, model, processor, cases: dict, scratch: pathlib.Path) -> float:
    largest = 0.0
    for case in cases.values():
        tokens = case["responses"][1]["tokens"]
        difference = ours(directory, case, tokens, scratch) - theirs(model, processor, case, tokens)
        largest = max(largest, float(difference.abs().max()))
    return largest


def train(base: pathlib.Path, output: pathlib.Path, scratch: pathlib.Path, *overrides: str) -> pathlib.Path:
    """Two steps on a small model; the checkpoint."""
    sample = {
        "id": "red",
        "image": str(images.FOLDER / "small-40x40.png"),
        "problem": "the red circle",
        "solution": [{"bbox_2d": [2, 3, 20, 30]}],
    }
    data, config = scratch / "train.jsonl", scratch / "train.yaml"
    data.write_text(json.dumps(sample) + "\n")
    settings = {
        "model": str(base), "output": str(output), "paradigm": "sft", "steps": 2, "promptsPerStep": 1,
        "data": {"train": str(data), "allowOutside": True}, "optimizer": {"learningRate": 1e-2},
    }  # fmt: skip
    config.write_text(json.dumps(settings))
    visurf("train", config, *overrides)
    return output / "checkpoints" / "000002"


def full(directory: pathlib.Path, dtype=torch.float32):
    """In float32 unless said: files may hold some tensors in float32 beside others in bfloat16."""
    return AutoModelForImageTextToText.from_pretrained(directory, dtype=dtype).eval()


def compare(checkpoint: pathlib.Path, scratch: pathlib.Path) -> int:
    """Everything about one checkpoint; the number of failures."""
    base = checkpoint / "model"
    recorded = json.loads((checkpoint / ("cases.json" if checkpoint == FOLDER else "expected.json")).read_text())
    cases = recorded.get("cases", recorded)
    failures = 0

    def check(name: str, directory: pathlib.Path, model) -> None:
        nonlocal failures
        processor = AutoProcessor.from_pretrained(directory if (directory / "config.json").exists() else base)
        largest = distance(directory, model, processor, cases, scratch)
        good = largest < TOLERANCE
        failures += not good
        print(f"{'ok  ' if good else 'FAIL'} {checkpoint.name}, {name}: {largest:.1e}", flush=True)

    shards, half, merged = scratch / "shards", scratch / "half", scratch / "merged"
    visurf("export", "--model", base, "--output", shards, "--max-shard-size", "200KB")
    check("export in shards", shards, full(shards))

    visurf("export", "--model", base, "--output", half, "--dtype", "bfloat16")
    assert full(half, "auto").dtype == torch.bfloat16
    check("export in bfloat16, computed in float32", half, full(half))

    for adapter in sorted((checkpoint / "adapters").glob("*")):
        peft = PeftModel.from_pretrained(full(base), adapter).base_model.model.eval()
        check(f"PEFT's adapter {adapter.name}", adapter, peft)
        target = merged / adapter.name
        visurf("merge", "--model", adapter, "--output", target)
        check(f"PEFT's adapter {adapter.name} merged", target, full(target))

    for name, vision in (("language", "false"), ("vision", "true")):
        overrides = ["train.lora.rank=4", "train.lora.alpha=8", f"train.lora.vision={vision}"]
        run = train(base, scratch / f"lora-{name}", scratch, *overrides)
        check(f"trained adapter {name}", run, AutoPeftModel.from_pretrained(run, dtype="float32").base_model.model.eval())
        target = merged / f"trained-{name}"
        visurf("merge", "--model", run, "--output", target)
        check(f"trained adapter {name} merged", target, full(target))

    trained = train(base, scratch / "whole", scratch)
    check("trained weights", trained, full(trained))
    return failures


def main() -> None:
    torch.set_num_threads(1)
    failures = 0
    for checkpoint in [each for each in CHECKPOINTS if len(sys.argv) == 1 or each.name in sys.argv[1:]]:
        with tempfile.TemporaryDirectory() as folder:
            failures += compare(checkpoint, pathlib.Path(folder))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
