"""Makes fixtures/sizes.json: how large Qwen3-VL's processors make images and videos of many sizes, and the seconds that its
prompts say of the frames of videos.

    oracle/run.sh sizes.py
"""

from __future__ import annotations

import json
import pathlib
import random

import tvshim  # noqa: F401  (before transformers)
from transformers.models.glm4v.video_processing_glm4v import smart_resize as video_size
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize as image_size
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor

FILE = pathlib.Path(__file__).parent / "fixtures" / "sizes.json"
# Of published files: of an image, and of all frames of a video together.
IMAGE, VIDEO = {"min_pixels": 65_536, "max_pixels": 16_777_216}, {"min_pixels": 4_096, "max_pixels": 25_165_824}
KNOWN = [(1280, 720), (640, 400), (336, 336), (848, 480), (840, 840), (32, 32), (16, 48), (31, 700), (9000, 5000), (48, 80)]


def side(rng: random.Random, most: int) -> int:
    # Many halves of 32, where rounding decides.
    return rng.choice([rng.randint(8, most), 32 * rng.randint(1, most // 32) + 16])


def main() -> None:
    rng = random.Random(3)
    sizes = KNOWN + [(side(rng, 6000), side(rng, 4000)) for _ in range(300)]
    allowed = [(w, h) for w, h in sizes if max(w, h) / min(w, h) <= 200]
    images = [[w, h, *image_size(h, w, factor=32, **IMAGE)[::-1]] for w, h in allowed]
    videos = []
    for _ in range(300):
        frames, w, h = rng.randint(2, 60), side(rng, 2000), side(rng, 1200)
        if max(w, h) / min(w, h) <= 30:
            videos.append([frames, w, h, *video_size(frames, h, w, temporal_factor=2, factor=32, **VIDEO)[::-1]])
    times = []
    for fps in (0.25, 0.5, 1, 2, 3, 4, 7.5, 8, 10, 20, 23.976, 24, 25, 29.97, 30, 60):
        for frames in (2, 3, 8, 33):
            stamps = Qwen3VLProcessor._calculate_timestamps(None, list(range(frames)), fps)
            times.append([frames, fps, " ".join(f"{each:.1f}" for each in stamps)])
    lines = lambda rows: "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]"  # noqa: E731
    limits = json.dumps({"image": IMAGE, "video": VIDEO})
    FILE.write_text(f'{{"limits": {limits},\n"images": {lines(images)},\n"videos": {lines(videos)},\n"times": {lines(times)}}}\n')


if __name__ == "__main__":
    main()
