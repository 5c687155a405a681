"""Makes fixtures/smolvlm-sizes.json: how the reference cuts images of many sizes: [width, height, longest edge, tile, width and
height as it is cut, rows, columns].

    oracle/run.sh smolvlm_sizes.py
"""

from __future__ import annotations

import json
import pathlib
import random

import tvshim  # noqa: F401  (before transformers)
import torch
from transformers import SmolVLMImageProcessor
from transformers.models.smolvlm.image_processing_smolvlm import get_resize_output_image_size

FILE = pathlib.Path(__file__).parent / "fixtures" / "smolvlm-sizes.json"
# The three published sizes, a small one, and one that the absolute limit of 4096 pixels cuts off.
SETTINGS = [(2048, 512), (1536, 384), (512, 512), (96, 32), (5000, 500)]


class Sizes(SmolVLMImageProcessor):
    """Resizes nothing: sizes are enough."""

    def resize(self, image, size, resample=None, **_):
        return torch.empty(*image.shape[:2], size.height, size.width, device="meta")


def main() -> None:
    generator = random.Random(5)
    sizes = [(1, 1), (2, 400), (400, 2), (512, 512), (513, 512), (1280, 720), (720, 1280), (640, 480), (2048, 2047), (4096, 31)]
    sizes += [(generator.randint(2, 3000), generator.randint(2, 3000)) for _ in range(90)]
    sizes += [(generator.randint(2, 60), generator.randint(60, 4000)) for _ in range(20)]
    rows = []
    processor = Sizes()
    for width, height in sizes:
        for longest, tile in SETTINGS:
            scaled = get_resize_output_image_size(torch.empty(3, height, width, device="meta"), longest)
            image = processor.resize_for_vision_encoder(torch.empty(1, 3, *scaled, device="meta"), tile)
            h, w = image.shape[-2:]
            split = h > tile or w > tile
            rows.append([width, height, longest, tile, w, h, h // tile if split else 0, w // tile if split else 0])
    FILE.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


if __name__ == "__main__":
    main()
