"""The committed PNG files that fixtures show to the model: gradients, shapes and a little noise, any size."""

from __future__ import annotations

import pathlib

import numpy as np
from PIL import Image, ImageDraw

FOLDER = pathlib.Path(__file__).parent / "fixtures" / "images"

COLOURS = {"red": (214, 40, 40), "green": (48, 160, 72), "blue": (40, 80, 210), "yellow": (230, 200, 40)}


def draw(name: str, width: int, height: int, seed: int) -> str:
    """Writes `name`.png and returns its file name. Few levels of noise, so that the file stays small."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([60 + 120 * x / width, 200 - 110 * y / height, 90 + 60 * (x + y) / (width + height)], axis=-1)
    image = Image.fromarray(base.astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for colour in COLOURS.values():
        cx, cy = random.uniform(0.15, 0.85) * width, random.uniform(0.15, 0.85) * height
        r = random.uniform(0.08, 0.2) * min(width, height)
        shape = pen.ellipse if random.random() < 0.5 else pen.rectangle
        shape([cx - r, cy - 0.8 * r, cx + r, cy + 0.8 * r], fill=colour)
    pixels = np.asarray(image).astype(np.int16)
    # One block of noise: the antialiased resize must be right on high frequencies, too.
    h, w = height // 3, width // 3
    pixels[:h, -w:] += random.integers(-40, 41, (h, w, 3), dtype=np.int16)
    FOLDER.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(FOLDER / f"{name}.png", optimize=True)
    return f"{name}.png"
