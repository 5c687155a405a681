"""Makes fixtures/formats/: one picture in many kinds of image files, and the bytes that the reference makes of them.

    oracle/run.sh formats.py

Files are opened as transformers opens them (Pillow, rotated by EXIF) and resized by its image processor.
"""

from __future__ import annotations

import json
import pathlib

import numpy as np
import torch
from configurations import digest
from PIL import Image, ImageDraw
from transformers import Qwen2VLImageProcessor
from transformers.image_utils import load_image

FOLDER = pathlib.Path(__file__).parent / "fixtures" / "formats"
PROCESSOR = Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=12 * 28 * 28)
ORIENTATION = 0x0112


def picture(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([255 * x / width, 255 * y / height, 128 + 100 * np.sin(x / 5)], axis=-1)
    image = Image.fromarray(base.clip(0, 255).astype(np.uint8))
    ImageDraw.Draw(image).ellipse([0.1 * width, 0.1 * height, 0.6 * width, 0.7 * height], fill=(220, 30, 60))
    return image


def write() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    image = picture(90, 70)
    alpha = Image.fromarray(np.tile(np.linspace(0, 255, 90).astype(np.uint8), (70, 1)))
    image.convert("L").save(FOLDER / "gray.png")
    image.convert("1").save(FOLDER / "one-bit.png")
    image.quantize(16).save(FOLDER / "palette.png")
    image.quantize(16).save(FOLDER / "palette-transparent.png", transparency=3)
    Image.merge("RGBA", [*image.split(), alpha]).save(FOLDER / "rgba.png")
    Image.merge("LA", [image.convert("L"), alpha]).save(FOLDER / "gray-alpha.png")
    image.save(FOLDER / "444.jpg", quality=90, subsampling=0)
    image.save(FOLDER / "420.jpg", quality=80, subsampling=2)
    image.save(FOLDER / "422.jpg", quality=80, subsampling=1)
    image.save(FOLDER / "progressive.jpg", quality=80, progressive=True)
    image.convert("L").save(FOLDER / "gray.jpg", quality=85)
    inks = Image.merge("CMYK", [*image.split(), alpha])
    inks.save(FOLDER / "cmyk.jpg", quality=90)
    inks.save(FOLDER / "cmyk.tiff", compression="tiff_lzw")
    for orientation in (3, 6, 8, 5):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        image.save(FOLDER / f"exif-{orientation}.jpg", quality=90, subsampling=0, exif=exif)
    image.save(FOLDER / "lossless.webp", lossless=True)
    image.quantize(32).save(FOLDER / "still.gif")
    image.save(FOLDER / "plain.tiff", compression="tiff_lzw")
    picture(10, 1500).save(FOLDER / "thin-10x1500.png")
    picture(900, 6).save(FOLDER / "flat-900x6.png")
    picture(5, 4).save(FOLDER / "tiny-5x4.png")
    picture(2, 3).save(FOLDER / "dots-2x3.png")
    picture(42, 70).save(FOLDER / "half-42x70.png")
    picture(97, 83).save(FOLDER / "odd-97x83.png")
    picture(56, 56).save(FOLDER / "exact-56x56.png")


def main() -> None:
    torch.set_num_threads(1)
    write()
    expected = {}
    for file in sorted(FOLDER.glob("*.*")):
        if file.suffix == ".json":
            continue
        file.chmod(0o644)
        image = load_image(str(file)) if file.suffix != ".png" else Image.open(file)
        out = PROCESSOR(images=[image], return_tensors="pt")
        values = out["pixel_values"]
        expected[file.name] = {
            "gridThw": out["image_grid_thw"][0].tolist(),
            "sha256": digest(values, PROCESSOR),
            "mean": float(values.double().mean()),
        }
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
