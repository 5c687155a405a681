"""Makes the workload's model and images where there is no trained base yet: random weights in the demo's shape.

    python mini_model.py FOLDER [SHAPE]

writes FOLDER/model (Hugging Face layout) and FOLDER/images/*.png. Speed does not depend on the values of weights.
"""

from __future__ import annotations

import pathlib
import sys

import protocol  # noqa: F401  (paths and shim)

import checkpoint
import images
import torch

SHAPES = {
    # The demo's model: 1.5 million parameters, 112 x 112 px are 16 image tokens.
    "a": {
        "side": 112,
        "vocabulary": 424,
        "text": {
            "hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
            "intermediate_size": 352, "max_position_embeddings": 4096, "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10.0, "mrope_section": [4, 6, 6]},
        },
        "vision": {
            "hidden_size": 96, "depth": 4, "num_heads": 3, "intermediate_size": 256, "window_size": 56,
            "fullatt_block_indexes": [1, 3], "out_hidden_size": 128,
        },
    },
}  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    folder, shape = pathlib.Path(sys.argv[1]), SHAPES[sys.argv[2] if len(sys.argv) > 2 else "a"]
    side = shape["side"]
    tokenizer = checkpoint.make_tokenizer(vocab_size=shape["vocabulary"])
    processor = checkpoint.make_processor(tokenizer, side * side, side * side)
    config = checkpoint.make_config(tokenizer, shape["text"], shape["vision"], tie=True)
    checkpoint.save(folder / "model", checkpoint.make_model(config, seed=1), processor)
    images.FOLDER = folder / "images"
    for index in range(16):
        images.draw(f"{index:03d}", side, side, seed=index)


if __name__ == "__main__":
    main()
