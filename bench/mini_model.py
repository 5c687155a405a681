"""Makes a workload's model and images: random weights in its shape. Speed does not depend on the values of weights.

    python mini_model.py FOLDER SHAPE [--image NAME WIDTH HEIGHT]...

writes FOLDER/model (Hugging Face layout) and FOLDER/images/NAME.png.
"""

from __future__ import annotations

import argparse
import pathlib

import protocol  # noqa: F401  (paths and shim)

import checkpoint
import images
import torch

# `vocabulary` is the model's; the tokenizer has a few hundred entries, and ids beyond them decode to nothing.
SHAPES = {
    # The demo's model: 1.5 million parameters.
    "a": {
        "vocabulary": None,
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
    # 61 million parameters, 16 of them in the (tied) head.
    "b": {
        "vocabulary": 32_000,
        "text": {
            "hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8, "num_key_value_heads": 2,
            "intermediate_size": 2048, "max_position_embeddings": 8192, "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]},
        },
        "vision": {
            "hidden_size": 384, "depth": 6, "num_heads": 6, "intermediate_size": 1024, "window_size": 112,
            "fullatt_block_indexes": [2, 5], "out_hidden_size": 512,
        },
    },
    # Qwen2.5-VL-3B at a twelfth of its parameters (302 million): the same head size, MLP five times as wide as the
    # stream, a quarter of the vision blocks with full attention; decoder, tower and head have the 3B's shares.
    "c": {
        "vocabulary": 32_000,
        "text": {
            "hidden_size": 768, "num_hidden_layers": 20, "num_attention_heads": 6, "num_key_value_heads": 2,
            "intermediate_size": 4096, "max_position_embeddings": 8192, "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        },
        "vision": {
            "hidden_size": 512, "depth": 16, "num_heads": 8, "intermediate_size": 1368, "window_size": 112,
            "fullatt_block_indexes": [3, 7, 11, 15], "out_hidden_size": 768,
        },
    },
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("--image", nargs=3, metavar=("NAME", "WIDTH", "HEIGHT"), action="append", default=[])
    options = parser.parse_args()
    torch.set_num_threads(1)
    shape = SHAPES[options.shape]
    tokenizer = checkpoint.make_tokenizer(vocab_size=424)
    # Sizes are multiples of 28 pixels: no image of the workloads is scaled.
    processor = checkpoint.make_processor(tokenizer, 56 * 56, 1400 * 1400)
    text = shape["text"] | ({"vocab_size": shape["vocabulary"]} if shape["vocabulary"] else {})
    model = checkpoint.make_model(checkpoint.make_config(tokenizer, text, shape["vision"], tie=True), seed=1)
    checkpoint.save(options.folder / "model", model, processor)
    images.FOLDER = options.folder / "images"
    for seed, (name, width, height) in enumerate(options.image):
        images.draw(name, int(width), int(height), seed)


if __name__ == "__main__":
    main()
