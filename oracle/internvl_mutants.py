"""Makes fixtures/configurations/internvl-*/mutants.json: what the reference would compute of a checkpoint if it made one of the
mistakes that an implementation may make. A test demands that ours is none of them.

    oracle/run.sh internvl_mutants.py
"""

from __future__ import annotations

import contextlib
import copy
from unittest import mock

import reference
import smolvlm
import torch
from internvl import BUILD, CONFIGURATIONS, FOLDER, responses
from tiny_qwen2_5_vl import compact
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.image_utils import SizeDict
from transformers.models.got_ocr2 import image_processing_got_ocr2 as images
from transformers.models.internvl import modeling_internvl as modeling
from transformers.models.qwen3 import modeling_qwen3 as qwen3

# Each takes copies of the model and of the processor and gives a context in which they are wrong. The copies may be changed.


def changed(change):
    def apply(model, processor):
        with torch.no_grad():
            change(model, processor)
        return contextlib.nullcontext()

    return apply


def layers(model):
    return model.model.vision_tower.encoder.layer


def columns_first(model, _):
    right = model.model.pixel_shuffle
    model.model.pixel_shuffle = lambda x, scale_factor: right(x.transpose(1, 2).contiguous(), scale_factor).transpose(1, 2).contiguous()


def canvas(change):
    """Other grids of tiles than get_optimal_tiled_canvas gives."""
    right = images.get_optimal_tiled_canvas
    return lambda _model, _processor: mock.patch.object(images, "get_optimal_tiled_canvas", lambda *given: change(right, *given))


def tiles(change):
    right = images.GotOcr2ImageProcessor.crop_image_to_patches

    def wrong(self, *args, **given):
        found = right(self, *args, **given)
        return found if found.shape[1] == 1 else change(found)

    return lambda _model, _processor: mock.patch.object(images.GotOcr2ImageProcessor, "crop_image_to_patches", wrong)


def rotary(model, _):
    rope = model.model.language_model.rotary_emb
    size = 2 * rope.inv_freq.numel()
    rope.inv_freq.copy_(100.0 ** -(torch.arange(0, size, 2).float() / size))


def tanh(model, _):
    for layer in layers(model):
        layer.mlp.activation_fn = torch.nn.GELU(approximate="tanh")


def of_laid_out(_model, _processor):
    """The thumbnail is the image as it was cut, once more resized."""
    right = images.GotOcr2ImageProcessor.crop_image_to_patches

    def wrong(self, pictures, least, most, *, patch_size, resample, **given):
        found = right(self, pictures, least, most, patch_size=patch_size, resample=resample, **given)
        tile = patch_size.height, patch_size.width
        columns, rows = images.get_optimal_tiled_canvas(pictures.shape[-2:], tile, least, most)
        laid = self.resize(pictures, SizeDict(height=rows * tile[0], width=columns * tile[1]), resample=resample)
        if found.shape[1] > 1:
            found[:, -1] = self.resize(laid, patch_size, resample=resample)
        return found

    return mock.patch.object(images.GotOcr2ImageProcessor, "crop_image_to_patches", wrong)


def together(model, _):
    """Patches of all tiles see each other."""
    for layer in layers(model):
        right = layer.attention.forward

        def wrong(x, *args, right=right, **given):
            out, weights = right(x.reshape(1, -1, x.shape[-1]), *args, **given)
            return out.reshape(x.shape), weights

        layer.attention.forward = wrong


def normed_by_head(model, _):
    for layer in layers(model):
        attention = layer.attention
        for norm in (attention.q_norm, attention.k_norm):
            if isinstance(norm, modeling.InternVLVisionRMSNorm):

                def wrong(x, norm=norm, size=attention.head_dim):
                    heads = x.unflatten(-1, (-1, size))
                    return (heads * torch.rsqrt(heads.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)).flatten(-2) * norm.weight

                norm.forward = wrong


def decoder(model):
    """Attention that norms queries and keys; none in Qwen2."""
    return [layer.self_attn for layer in model.model.language_model.layers if hasattr(layer.self_attn, "q_norm")]


def not_normed(model, _):
    for attention in decoder(model):
        attention.q_norm = attention.k_norm = torch.nn.Identity()


def normed_behind(model, _):
    current = []
    for attention in decoder(model):
        norms, right = (attention.q_norm, attention.k_norm), attention.forward

        def wrong(*args, norms=norms, right=right, **given):
            current[:] = norms
            return right(*args, **given)

        attention.q_norm = attention.k_norm = torch.nn.Identity()
        attention.forward = wrong
    rotate = qwen3.apply_rotary_pos_emb
    return mock.patch.object(qwen3, "apply_rotary_pos_emb", lambda *args: tuple(norm(x) for norm, x in zip(current, rotate(*args))))


def no_class(model, _):
    embeddings = model.model.vision_tower.embeddings
    embeddings.position_embeddings[:, 1:] = embeddings.position_embeddings[:, :-1].clone()


MUTANTS = {
    "a pixel shuffle of columns before rows": changed(columns_first),
    "halves of a block not scaled": changed(lambda model, _: [p.fill_(1) for n, p in model.named_parameters() if ".lambda_" in n]),
    "the class token not seen": changed(lambda model, _: model.model.vision_tower.embeddings.cls_token.zero_()),
    "positions without the class token's": changed(no_class),
    "tanh GELU in the tower": changed(tanh),
    "tanh GELU in the projector": changed(lambda model, _: setattr(model.model.multi_modal_projector, "act", torch.nn.GELU("tanh"))),
    "tiles that see each other": changed(together),
    "queries and keys of the tower normed by head": changed(normed_by_head),
    "no norm of the decoder's queries and keys": changed(not_normed),
    "norm of queries and keys behind their rotation": normed_behind,
    "the thumbnail from the image as it was cut": of_laid_out,
    "no norm before the projector": changed(lambda model, _: setattr(model.model.multi_modal_projector, "layer_norm", torch.nn.Identity())),
    "another rotary base": changed(rotary),
    "rows and columns the other way round": canvas(lambda right, size, *given: right(size[::-1], *given)),
    "one tile fewer at most": canvas(lambda right, size, tile, least, most: right(size, tile, least, max(least, most - 1))),
    "of equal grids the smallest": canvas(lambda right, size, tile, *given: right(size, (10**6, 10**6), *given)),
    "the thumbnail before the tiles": tiles(lambda found: found.roll(1, dims=1)),
    "statistics of another model": changed(lambda _, processor: setattr(processor.image_processor, "image_mean", [0.5, 0.5, 0.5])),
    "bilinear in place of bicubic": changed(lambda _, processor: setattr(processor.image_processor, "resample", 2)),
}


@torch.no_grad()
def scores(model, processor) -> dict[str, torch.Tensor]:
    found = {}
    for name, messages in smolvlm.cases().items():
        _, inputs = BUILD.encode(processor, messages)
        tokens = responses(processor.tokenizer, name)[1]["tokens"]
        found[name] = reference.response_log_probs(BUILD.forward(model, inputs, tokens).logits.double(), tokens)
    return found


def make(name: str) -> None:
    folder = FOLDER / name
    model = AutoModelForImageTextToText.from_pretrained(folder / "model", dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(folder / "model")
    right, entries = scores(model, processor), {}
    for mutant, apply in MUTANTS.items():
        others = copy.deepcopy(model), copy.deepcopy(processor)
        with apply(*others):
            wrong = scores(*others)
        case = max(right, key=lambda each: float((wrong[each] - right[each]).abs().max()))
        distance = float((wrong[case] - right[case]).abs().max())
        print(f"{name}: {mutant}: {distance:.2g} ({case})", flush=True)
        entries[mutant] = {"case": case, "response": 1, "distance": distance, "logProbs": wrong[case].tolist()}
    (folder / "mutants.json").write_text(compact(entries) + "\n")


def main() -> None:
    torch.set_num_threads(1)
    for name in CONFIGURATIONS:
        make(name)


if __name__ == "__main__":
    main()
