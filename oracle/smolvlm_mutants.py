"""Makes mutants.json of fixtures/configurations/smolvlm-* and idefics3-*: what the reference would compute of a checkpoint if it made one of the
mistakes that an implementation may make. A test demands that ours is none of them.

    oracle/run.sh smolvlm_mutants.py
"""

from __future__ import annotations

import contextlib
import copy
import re
from unittest import mock

import reference
import smolvlm
import torch
from smolvlm import CONFIGURATIONS, FOLDER, cases, encode, responses
from tiny_qwen2_5_vl import compact
from transformers import AutoModelForImageTextToText, AutoProcessor

# Each takes copies of the model and of the processor and gives a context in which they are wrong. The copies may be changed.


def bucketize(change):
    return lambda _model, _processor: mock.patch.object(torch, "bucketize", change(torch.bucketize))


def counted(model, _):
    """The n-th patch has the n-th row of the table, however many there are."""
    side = model.config.vision_config.image_size // model.config.vision_config.patch_size
    index = lambda x: torch.arange(x.shape[1]).clamp(max=side - 1).expand(x.shape[0], -1)  # noqa: E731
    return mock.patch.object(torch, "bucketize", lambda x, _borders, right: index(x))


def columns_first(model, _):
    connector = model.model.connector
    right = connector.pixel_shuffle

    def wrong(x, scale):
        side = int(x.shape[1] ** 0.5)
        mixed = x.view(x.shape[0], side // scale, scale, side // scale, scale, -1).transpose(2, 4)
        return right(mixed.reshape(x.shape), scale)

    connector.pixel_shuffle = wrong
    return contextlib.nullcontext()


def exact_gelu(model, _):
    for layer in model.model.vision_model.encoder.layers:
        layer.mlp.activation_fn = torch.nn.GELU()
    return contextlib.nullcontext()


def no_final_norm(model, _):
    model.model.vision_model.post_layernorm.forward = lambda x: x.contiguous()
    return contextlib.nullcontext()


def other_theta(model, _):
    rope = model.model.text_model.rotary_emb
    size = 2 * rope.inv_freq.numel()
    rope.inv_freq.copy_(1_000_000.0 ** -(torch.arange(0, size, 2).float() / size))
    return contextlib.nullcontext()


def bicubic(_, processor):
    processor.image_processor.resample = 3
    return contextlib.nullcontext()


def split(processor, change):
    """Other tiles than split_images gives: `change` takes the tiles before the thumbnail [1, n, ...], and the thumbnail."""
    kind = type(processor.image_processor)
    right = kind.split_images

    def wrong(self, *args, **given):
        frames, rows, columns = right(self, *args, **given)
        return (frames if rows[0] == 0 else change(frames[:, :-1], frames[:, -1:], rows[0], columns[0])), rows, columns

    return mock.patch.object(kind, "split_images", wrong)


def by_columns(tiles, thumbnail, rows, columns):
    other = tiles.unflatten(1, (rows, columns)).transpose(1, 2).flatten(1, 2)
    return torch.cat([other, thumbnail], dim=1)


def spelled(change):
    """Another text in place of a picture that is cut into tiles."""

    def apply(_model, processor):
        kind = type(processor)
        right = kind.replace_image_token

        def wrong(self, *given, **named):
            text = right(self, *given, **named)
            return change(text) if "row_" in text else text

        return mock.patch.object(kind, "replace_image_token", wrong)

    return apply


@contextlib.contextmanager
def without_thumbnail(model, processor):
    # The last of a picture's runs of pads goes, and with it the last tile.
    text = spelled(lambda text: text.rpartition("\n\n")[0] + "\n")
    with split(processor, lambda tiles, *_: tiles), text(model, processor):
        yield


def not_scaled(model, _):
    rope = model.model.text_model.rotary_emb
    size = 2 * rope.inv_freq.numel()
    rope.inv_freq.copy_(rope.config.rope_parameters["rope_theta"] ** -(torch.arange(0, size, 2).float() / size))
    return contextlib.nullcontext()


MUTANTS = {
    "places of patches counted, not bucketed": counted,
    "buckets with the other end open": bucketize(lambda right: lambda x, borders, right_=True, **_: right(x, borders, right=False)),
    "a pixel shuffle of columns before rows": columns_first,
    "exact GELU in the tower": exact_gelu,
    "no norm behind the tower": no_final_norm,
    "another rotary base": other_theta,
    "bicubic in place of Lanczos": bicubic,
    "tiles by columns": lambda _model, processor: split(processor, by_columns),
    "no thumbnail": without_thumbnail,
    "the thumbnail before the tiles": lambda _model, processor: split(processor, lambda tiles, thumbnail, *_: torch.cat([thumbnail, tiles], 1)),
    "no line break behind a row": spelled(lambda text: "\n\n".join(part.replace("\n", "") for part in text.rsplit("\n\n", 1))),
    "one line break before the thumbnail": spelled(lambda text: text.replace("\n\n", "\n")),
    "two tokens for the line breaks before the thumbnail": "apart",
    "rows and columns named the other way round": spelled(lambda text: re.sub(r"row_(\d)_col_(\d)", r"row_\2_col_\1", text)),
}


# Its decoder is Llama 3.1's.
OF_IDEFICS3 = {"frequencies as they were before Llama 3.1": not_scaled}


def apart(inputs, tokenizer):
    """Every token of two line breaks as two tokens of one."""
    both, one = tokenizer("\n\n")["input_ids"], tokenizer("\n")["input_ids"]
    ids = inputs["input_ids"][0].tolist()
    if len(both) == 1:
        ids = [new for each in ids for new in (one * 2 if each == both[0] else [each])]
    return inputs | {"input_ids": torch.tensor([ids])}


@torch.no_grad()
def scores(model, processor, change=None) -> dict[str, torch.Tensor]:
    found = {}
    for name, messages in cases().items():
        _, inputs = encode(processor, messages)
        if change:
            inputs = change(dict(inputs), processor.tokenizer)
        tokens = responses(processor.tokenizer, name)[1]["tokens"]
        out = smolvlm.forward(model, inputs, tokens)
        found[name] = reference.response_log_probs(out.logits.double(), tokens)
    return found


def make(name: str) -> None:
    folder = FOLDER / name
    model = AutoModelForImageTextToText.from_pretrained(folder / "model", dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(folder / "model")
    right, entries = scores(model, processor), {}
    for mutant, apply in (MUTANTS | (OF_IDEFICS3 if name.startswith("idefics3") else {})).items():
        others = copy.deepcopy(model), copy.deepcopy(processor)
        with torch.no_grad(), contextlib.nullcontext() if apply == "apart" else apply(*others):
            wrong = scores(*others, apart if apply == "apart" else None)
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
