"""Makes fixtures/configurations/NAME/mutants.json: what the reference would compute of a checkpoint if it made one of the
mistakes that an implementation may make. A test demands that ours is none of them.

    oracle/run.sh mutants.py
"""

from __future__ import annotations

import contextlib
import copy
import itertools
from unittest import mock

import reference
import torch
import torch.nn.functional as F
from configurations import CONFIGURATIONS, FOLDER, cases, responses
from tiny_qwen2_5_vl import compact
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.models.qwen3_vl import modeling_qwen3_vl as qwen3


# Each takes a copy of the model and gives a context in which it is wrong. The copy may be changed.


def positions(**changes):
    """Taps of the table of positions by other rules."""
    right = qwen3.get_vision_interpolation_indices_and_weights
    return lambda _: mock.patch.object(
        qwen3, "get_vision_interpolation_indices_and_weights", lambda grid, **given: right(grid, **(given | changes))
    )


def no_positions(model):
    model.model.visual.pos_embed.weight.zero_()
    return contextlib.nullcontext()


def rms_tower(model):
    for module in model.model.visual.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.forward = lambda x, m=module: F.rms_norm(x, m.normalized_shape, m.weight, m.eps)
    return contextlib.nullcontext()


def joint_frames(_):
    right = qwen3.get_vision_attention_seqlens
    return mock.patch.object(
        qwen3, "get_vision_attention_seqlens", lambda grid, config, **given: right(grid, config, merge_temporal=True, **given)
    )


def gelu(where: str, approximate: str):
    def apply(model):
        visual = model.model.visual
        blocks = [block.mlp for block in visual.blocks]
        for module in blocks if where == "blocks" else [visual.merger, *visual.deepstack_merger_list]:
            module.act_fn = torch.nn.GELU(approximate)
        return contextlib.nullcontext()

    return apply


def deepstack(shift: int = 0, reverse: bool = False, absent: bool = False, images_first: bool = False):
    """Features of layer i are added `shift` layers later (-1: before their layer), or others, or none."""

    def apply(model):
        text = model.model.language_model
        right, forward = text._deepstack_process, text.forward

        def wrong(*args, visual_pos_masks=None, deepstack_visual_embeds=None, **given):
            if deepstack_visual_embeds is None:
                return forward(*args, **given)
            features = [each for each in deepstack_visual_embeds]
            if reverse:
                features = features[::-1]
            if images_first:
                order = model.kinds[visual_pos_masks].sort(stable=True).indices
                features = [each[order] for each in features]
            hooks = []
            if absent:
                features = []
            for i, each in enumerate(features):
                if i + shift >= len(text.layers):
                    continue
                add = lambda x, e=each: right(x, visual_pos_masks, e)  # noqa: E731
                if shift < 0:
                    hooks.append(text.layers[i].register_forward_pre_hook(lambda _m, x, add=add: (add(x[0]), *x[1:])))
                else:
                    hooks.append(text.layers[i + shift].register_forward_hook(lambda _m, _x, out, add=add: add(out)))
            result = forward(*args, **given)
            for hook in hooks:
                hook.remove()
            return result

        text.forward = wrong
        return contextlib.nullcontext()

    return apply


def norm_before_joining(model):
    for merger in model.model.visual.deepstack_merger_list:
        width = merger.hidden_size // 4
        first = lambda x, m=merger.norm, w=width: F.layer_norm(x.view(-1, w), (w,), m.weight[:w], m.bias[:w], m.eps)  # noqa: E731
        merger.norm.forward = first
    return contextlib.nullcontext()


def query_key_norm(after: bool):
    def apply(model):
        layers = [layer.self_attn for layer in model.model.language_model.layers]
        norms = [(each.q_norm, each.k_norm) for each in layers]
        for each in layers:
            each.q_norm = each.k_norm = torch.nn.Identity()
        if not after:
            return contextlib.nullcontext()
        right, calls = qwen3.apply_rotary_pos_emb, iter(range(10**6))

        def wrong(*given, **options):
            q, k = right(*given, **options)
            of_q, of_k = norms[next(calls) % len(norms)]
            return of_q(q), of_k(k)

        return mock.patch.object(qwen3, "apply_rotary_pos_emb", wrong)

    return apply


def rotary(change):
    def apply(model):
        rope = model.model.language_model.rotary_emb
        change(rope)
        return contextlib.nullcontext()

    return apply


def contiguous(rope):
    def recompose(freq):
        parts = freq.split(list(rope.mrope_section), dim=-1)
        return torch.cat([part[i] for i, part in enumerate(parts)] * 2, dim=-1)

    rope.recomposition_frequencies = recompose


def one_dimensional(rope):
    rope.recomposition_frequencies = lambda freq: torch.cat([freq[0], freq[0]], dim=-1)


def other_theta(rope):
    """The number that the reference takes where a file has none."""
    size = 2 * rope.inv_freq.numel()
    rope.inv_freq.copy_(500_000.0 ** -(torch.arange(0, size, 2).float() / size))


def counted_positions(model):
    """Text behind an image goes on by the number of its tokens."""
    right = model.model.get_rope_index

    def wrong(**given):
        ids, delta = right(**given)
        ids, kinds = ids.clone(), given["mm_token_type_ids"][0].tolist()
        for _, group in itertools.groupby(range(len(kinds)), lambda i: kinds[i]):
            group = list(group)
            ids[:, 0, group] += group[0] - ids[:, 0, group[0]].min()
        return ids, delta

    model.model.get_rope_index = wrong
    return contextlib.nullcontext()


MUTANTS = {
    "no learned positions": no_positions,
    "learned positions in rows, not in blocks": positions(spatial_merge_size=1),
    "learned positions of centres, not corners": positions(align_corners=False),
    "RMSNorm in the tower": rms_tower,
    "attention over all frames of a video": joint_frames,
    "exact GELU in blocks": gelu("blocks", "none"),
    "tanh-GELU in mergers": gelu("mergers", "tanh"),
    "no DeepStack": deepstack(absent=True),
    "DeepStack before its layer": deepstack(shift=-1),
    "DeepStack a layer late": deepstack(shift=1),
    "DeepStack in reverse": deepstack(reverse=True),
    "DeepStack of images before that of videos": deepstack(images_first=True),
    "DeepStack's norm before joining": norm_before_joining,
    "no norm of queries and keys": query_key_norm(after=False),
    "norm of queries and keys behind rotation": query_key_norm(after=True),
    "M-RoPE in sections, not interleaved": rotary(contiguous),
    "positions of text alone": rotary(one_dimensional),
    "another rotary base": rotary(other_theta),
    "text goes on by the number of image tokens": counted_positions,
}


@torch.no_grad()
def scores(model, batch: dict) -> dict[str, torch.Tensor]:
    found = {}
    for name, (inputs, tokens) in batch.items():
        model.kinds = torch.cat([inputs["mm_token_type_ids"], torch.zeros(1, len(tokens), dtype=torch.long)], dim=1)
        out, _ = reference.forward(model, inputs, tokens)
        found[name] = reference.response_log_probs(out.logits.double(), tokens)
    return found


def make(name: str) -> None:
    folder = FOLDER / name
    model = AutoModelForImageTextToText.from_pretrained(folder / "model", dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(folder / "model")
    batch = {}
    for case, messages in cases().items():
        _, inputs = reference.encode_messages(processor, messages)
        batch[case] = (inputs, responses(processor.tokenizer, case)[1]["tokens"])
    right, entries = scores(model, batch), {}
    for mutant, apply in MUTANTS.items():
        wrong_model = copy.deepcopy(model)
        with torch.no_grad(), apply(wrong_model):
            wrong = scores(wrong_model, batch)
        case = max(right, key=lambda each: float((wrong[each] - right[each]).abs().max()))
        distance = float((wrong[case] - right[case]).abs().max())
        print(f"{name}: {mutant}: {distance:.2g} ({case})", flush=True)
        entries[mutant] = {"case": case, "response": 1, "distance": distance, "logProbs": wrong[case].tolist()}
    (folder / "mutants.json").write_text(compact(entries) + "\n")


def main() -> None:
    torch.set_num_threads(1)
    for name, (family, *_) in CONFIGURATIONS.items():
        if family == "qwen3_vl":
            make(name)


if __name__ == "__main__":
    main()
