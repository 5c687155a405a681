"""Writes a checkpoint of SmolVLM2-256M's exact shapes with random weights, in the layout in which it is published, for
recipes/smol to be tried without it. Its tokenizer is learned from the texts of this repository.

    oracle/python.sh oracle/smol_shapes.py DIRECTORY
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
from unittest import mock

import smolvlm
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROWS = 49280
# As families of this build have them: the tower's depth, inner width, activation and eps are what the class knows.
VISION = smolvlm.tower(32, 16, 768, 12)
TEXT = {
    "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
    "head_dim": 64, "vocab_size": ROWS, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 1e5,
}  # fmt: skip


def corpus() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "*.md", "*.ts", "*.py", "*.cc"], cwd=ROOT, capture_output=True, check=True, text=True)
    return [(ROOT / name).read_text() for name in listed.stdout.split()]


def main(folder: pathlib.Path) -> None:
    trained = smolvlm.trainers.BpeTrainer
    # 40 tokens are added behind those that are learned, if there are so many.
    larger = lambda **given: trained(**given | {"vocab_size": ROWS - 256})  # noqa: E731
    name = "shapes"
    drawn = (VISION, TEXT, 4, 512, 2048, False, "hub", "float32", 1)
    with (
        mock.patch.dict(smolvlm.CONFIGURATIONS, {name: drawn}),
        mock.patch.object(smolvlm.trainers, "BpeTrainer", larger),
        mock.patch.object(smolvlm, "CORPUS", "\n".join(corpus())),
    ):
        smolvlm.write_checkpoint(folder, name, 7)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(pathlib.Path(sys.argv[1]))
