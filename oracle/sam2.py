"""A small SAM2 with random weights, exported as the hub's ONNX exports are, and what transformers makes of boxes and points with
it: `fixtures/sam2/`."""

import json
import random
from pathlib import Path

import numpy as np
import onnx
import PIL.Image
import torch
import tvshim  # noqa: F401
from torch import nn
from pycocotools import mask as coco
from transformers import Sam2Config, Sam2ImageProcessor, Sam2Model, SamImageProcessor

HERE = Path(__file__).parent
OUT = HERE / "fixtures" / "sam2"
SIDE = 128
IMAGES = {"square": (96, 96), "wide": (150, 50), "tall": (70, 131)}


def config():
    return Sam2Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 8,
                "num_attention_heads": 1,
                "image_size": [SIDE, SIDE],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": [8, 16, 24, 32],
                "num_attention_heads_per_stage": [1, 1, 2, 2],
                "window_size_per_stage": [4, 4, 4, 2],
                "global_attention_blocks": [3],
                "window_positional_embedding_background_size": [3, 3],
            },
            "backbone_channel_list": [32, 24, 16, 8],
            "backbone_feature_sizes": [[SIDE // 4] * 2, [SIDE // 8] * 2, [SIDE // 16] * 2],
            "fpn_hidden_size": 32,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": SIDE, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 32,
            "mlp_dim": 48,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 24,
        },
    )


class Encoder(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixel_values):
        return tuple(self.model.get_image_embeddings(pixel_values))


class Decoder(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_points, input_labels, input_boxes, *embeddings):
        out = self.model(
            input_points=input_points,
            input_labels=input_labels,
            input_boxes=input_boxes,
            image_embeddings=list(embeddings),
        )
        return out.iou_scores, out.pred_masks, out.object_score_logits


def export(model):
    folder = OUT / "model" / "onnx"
    folder.mkdir(parents=True, exist_ok=True)
    pixels = torch.zeros(1, 3, SIDE, SIDE)
    names = [f"image_embeddings.{i}" for i in range(3)]
    embeddings = model.get_image_embeddings(pixels)
    common = {"opset_version": 18, "dynamo": False}
    torch.onnx.export(
        Encoder(model),
        (pixels,),
        folder / "vision_encoder.onnx",
        input_names=["pixel_values"],
        output_names=names,
        dynamic_axes={name: {0: "batch"} for name in ["pixel_values", *names]},
        **common,
    )
    prompts = (torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, dtype=torch.int64), torch.zeros(1, 1, 4))
    inputs = ["input_points", "input_labels", "input_boxes"]
    outputs = ["iou_scores", "pred_masks", "object_score_logits"]
    axes = {
        "input_points": {1: "objects", 2: "points"},
        "input_labels": {1: "objects", 2: "points"},
        "input_boxes": {1: "boxes"},
        **{name: {1: "objects"} for name in outputs},
    }
    torch.onnx.export(
        Decoder(model),
        (*prompts, *embeddings),
        folder / "prompt_encoder_mask_decoder.onnx",
        input_names=[*inputs, *names],
        output_names=outputs,
        dynamic_axes=axes,
        **common,
    )
    names = [file.name for file in folder.glob("*.onnx")]
    for name in names:
        # As the exports on the hub are: weights in a file of their own, which the configuration tells of.
        graph = onnx.load(folder / name)
        whole = {"save_as_external_data": True, "all_tensors_to_one_file": True, "size_threshold": 0}
        (folder / f"{name}_data").unlink(missing_ok=True)
        onnx.save_model(graph, folder / name, location=f"{name}_data", **whole)
        onnx.checker.check_model(str(folder / name))
    model.config.save_pretrained(OUT / "model")
    file = OUT / "model" / "config.json"
    config = json.loads(file.read_text())
    config["transformers.js_config"] = {"use_external_data_format": {name: True for name in sorted(names)}}
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    return folder


def picture(width, height, rng):
    """A smooth ground with a few ellipses."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([60 + 90 * x / width, 90 + 60 * y / height, 120 + 0 * x], axis=-1)
    for _ in range(4):
        cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        inside = ((x - cx) / rng.uniform(8, width / 3)) ** 2 + ((y - cy) / rng.uniform(8, height / 3)) ** 2 < 1
        pixels[inside] = [rng.uniform(0, 255) for _ in range(3)]
    return PIL.Image.fromarray(pixels.astype(np.uint8))


def prompts(width, height, rng):
    """Objects with boxes, and none, one or two points in them."""
    objects = []
    for points in [0, 1, 1, 2]:
        x0, y0 = rng.randint(0, width - 12), rng.randint(0, height - 12)
        box = [x0, y0, rng.randint(x0 + 8, width), rng.randint(y0 + 8, height)]
        inside = [[rng.randint(box[0], box[2]), rng.randint(box[1], box[3])] for _ in range(points)]
        objects.append({"box": box, "points": inside})
    return objects


def counts(mask):
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


class Stretched:
    """As SAM2 and transformers prepare pictures."""

    settings = {
        "image_processor_type": "Sam2ImageProcessor",
        "processor_class": "Sam2Processor",
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "rescale_factor": 1 / 255,
        "resample": 2,
        "size": {"height": SIDE, "width": SIDE},
    }

    def __init__(self):
        size = {"height": SIDE, "width": SIDE}
        self.processor = Sam2ImageProcessor(size=size, mask_size={"height": SIDE // 4, "width": SIDE // 4})

    def pixels(self, image):
        return self.processor(image, return_tensors="pt")["pixel_values"]

    def scale(self, width, height):
        return SIDE / width, SIDE / height

    def masks(self, logits, width, height):
        return self.processor.post_process_masks([logits], [[height, width]])[0]


class Padded(Stretched):
    """As SAM prepared them, and as some exports of SAM2 say: the aspect kept, with nothing below or to the right."""

    settings = {
        **Stretched.settings,
        "do_pad": True,
        "pad_size": {"height": SIDE, "width": SIDE},
        "size": {"longest_edge": SIDE},
    }

    def __init__(self):
        pad = {"height": SIDE, "width": SIDE}
        self.processor = SamImageProcessor(size={"longest_edge": SIDE}, pad_size=pad)

    def resized(self, width, height):
        scale = SIDE / max(width, height)
        return int(height * scale + 0.5), int(width * scale + 0.5)

    def scale(self, width, height):
        rows, columns = self.resized(width, height)
        return columns / width, rows / height

    def masks(self, logits, width, height):
        return self.processor.post_process_masks([logits], [[height, width]], [self.resized(width, height)])[0]


def answers(model, way, image, objects):
    """Of every object the mask with the best score, of three."""
    width, height = image.size
    with torch.no_grad():
        embeddings = model.get_image_embeddings(way.pixels(image))
        sx, sy = way.scale(width, height)
        for each in objects:
            points = [[x * sx, y * sy] for x, y in each["points"]]
            box = [value * (sx, sy)[i % 2] for i, value in enumerate(each["box"])]
            out = model(
                input_points=torch.tensor([[points]]) if points else None,
                input_boxes=torch.tensor([[box]]),
                image_embeddings=[each.clone() for each in embeddings],
            )
            scores = out.iou_scores[0, 0]
            masks = way.masks(out.pred_masks[0], width, height)[0]
            best = int(scores.argmax())
            yield masks[best].numpy(), [round(float(score), 5) for score in scores]


def main():
    torch.manual_seed(0)
    rng = random.Random(7)
    np.random.seed(7)
    model = Sam2Model(config()).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                # Large enough that masks have shapes, and that a mistake anywhere shows.
                parameter.normal_(0, 0.25 if parameter.dim() > 1 else 0.1)
            if "point_embed" in name or "shared" in name:
                parameter.mul_(4)
    OUT.mkdir(parents=True, exist_ok=True)
    export(model)
    cases = []
    for name, (width, height) in IMAGES.items():
        image = picture(width, height, rng)
        image.save(OUT / f"{name}.png")
        # Rows first: Pillow 13 begins with columns where that is cheaper, those before it never did.
        rows = image.resize((84, height), PIL.Image.BILINEAR)
        rows.resize((84, 84), PIL.Image.BILINEAR).save(OUT / f"{name}.84.png")
        objects = prompts(width, height, rng)
        case = {"image": f"{name}.png", "size": [height, width], "objects": objects}
        for way in [Stretched(), Padded()]:
            found = list(answers(model, way, image, objects))
            kind = type(way).__name__.lower()
            case[kind] = [{"counts": counts(mask), "scores": scores} for mask, scores in found]
            union = np.any([mask for mask, _ in found], axis=0)
            print(name, kind, [round(float(mask.mean()), 2) for mask, _ in found], round(float(union.mean()), 2))
        cases.append(case)
    for way in [Stretched, Padded]:
        file = "preprocessor_config.json" if way is Stretched else "padded.json"
        (OUT / "model" / file).write_text(json.dumps(way.settings, indent=1) + "\n")
    (OUT / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
