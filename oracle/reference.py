"""Running the reference: what it sees, computes and would say, in float32 or in true float64."""

from __future__ import annotations

import contextlib
import copy

import tvshim  # noqa: F401  (before transformers)
import images
import numpy as np
import torch
from PIL import Image
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as qwen2_5
from transformers.models.qwen2_vl import modeling_qwen2_vl as qwen2
from transformers.models.qwen3_5 import modeling_qwen3_5 as qwen3_5
from transformers.models.qwen3_vl import modeling_qwen3_vl as qwen3
from transformers.video_utils import VideoMetadata


def without_casts(function):
    """The function, in which float64 tensors that are cast to float32 stay as they are."""

    def call(*args, **kwargs):
        to_float, to = torch.Tensor.float, torch.Tensor.to

        def stay(self, *targets, **options):
            wide = self.dtype == torch.float64
            return to(self, *(torch.float64 if wide and each is torch.float32 else each for each in targets), **options)

        torch.Tensor.float = lambda self: self if self.dtype == torch.float64 else to_float(self)
        torch.Tensor.to = stay
        try:
            return function(*args, **kwargs)
        finally:
            torch.Tensor.float, torch.Tensor.to = to_float, to

    return call


@contextlib.contextmanager
def true_float64():
    """Keeps float64 where the reference casts to float32 inside a float64 model: RMSNorm and the vision rotation.

    Rotary angles, cos and sin are still float32 values cast up, as in the reference, so that every precision rotates
    by the same angles.
    """

    def norm(self, hidden):
        variance = hidden.pow(2).mean(-1, keepdim=True)
        return self.weight * (hidden * torch.rsqrt(variance + self.variance_epsilon))

    def rotate(q, k, cos, sin):
        cos, sin = cos.unsqueeze(-2).to(q.dtype), sin.unsqueeze(-2).to(q.dtype)
        return q * cos + qwen2.rotate_half(q) * sin, k * cos + qwen2.rotate_half(k) * sin

    norms = (qwen2.Qwen2VLRMSNorm, qwen2_5.Qwen2_5_VLRMSNorm, qwen3.Qwen3VLTextRMSNorm)
    modules = (qwen2, qwen2_5, qwen3)
    saved_norms = [each.forward for each in norms]
    saved_rotations = [each.apply_rotary_pos_emb_vision for each in modules]
    kept = (qwen3_5.Qwen3_5RMSNorm, qwen3_5.Qwen3_5RMSNormGated, qwen3_5.Qwen3_5GatedDeltaNet)
    saved_kept = [each.forward for each in kept]
    saved_rotation = qwen3_5.apply_rotary_pos_emb_vision
    try:
        for each in norms:
            each.forward = norm
        for each in modules:
            each.apply_rotary_pos_emb_vision = rotate
        for each in kept:
            each.forward = without_casts(each.forward)
        qwen3_5.apply_rotary_pos_emb_vision = without_casts(saved_rotation)
        yield
    finally:
        for each, saved in zip(kept, saved_kept):
            each.forward = saved
        qwen3_5.apply_rotary_pos_emb_vision = saved_rotation
        for each, saved in zip(norms, saved_norms):
            each.forward = saved
        for each, saved in zip(modules, saved_rotations):
            each.apply_rotary_pos_emb_vision = saved


def to_float64(model):
    """A float64 copy; frequencies keep their float32 values."""
    return copy.deepcopy(model).double()


def encode(processor, messages, images):
    """Rendered text and model inputs of one conversation; user text is never read as control tokens."""
    rendered = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    inputs = processor(text=[rendered], images=images or None, return_tensors="pt")
    return rendered, inputs


def encode_messages(processor, messages):
    """The same from messages alone: images and the frames of videos are files of the fixtures."""
    parts = [part for m in messages if isinstance(m["content"], list) for part in m["content"]]
    load = lambda file: Image.open(images.FOLDER / file)  # noqa: E731
    pictures = [load(part["image"]) for part in parts if part["type"] == "image"]
    clips = [part for part in parts if part["type"] == "video"]
    videos = [np.stack([np.asarray(load(file).convert("RGB")) for file in part["video"]]) for part in clips]
    metadata = [
        VideoMetadata(total_num_frames=len(part["video"]), fps=part["fps"], frames_indices=list(range(len(part["video"]))))
        for part in clips
    ]
    rendered = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    # Frames are taken as they are: some processors would choose among them.
    moving = {"videos": videos, "video_metadata": metadata, "do_sample_frames": False} if clips else {}
    return rendered, processor(text=[rendered], images=pictures or None, return_tensors="pt", **moving)


# What of the processor's output tells where tokens stand, and what they show.
PLACES = ("image_grid_thw", "video_grid_thw", "second_per_grid_ts")
PIXELS = ("pixel_values", "pixel_values_videos")


def forward(model, inputs, response: list[int], **kwargs):
    """One pass over prompt + response; returns the output and the position ids [3, L + T]. A response continues where
    generation does, behind the last token of the prompt."""
    tail = torch.tensor([response], dtype=torch.long)
    ids = torch.cat([inputs["input_ids"], tail], dim=1)
    types = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(tail)], dim=1)
    given = {key: inputs[key] for key in PLACES if key in inputs}
    prompt, _ = model.model.get_rope_index(input_ids=inputs["input_ids"], mm_token_type_ids=inputs["mm_token_type_ids"], **given)
    behind = prompt[:, :, -1].max() + 1 + torch.arange(len(response)).expand(3, 1, -1)
    positions = torch.cat([prompt, behind], dim=2)
    vision = {key: inputs[key].to(model.dtype) for key in PIXELS if key in inputs}
    vision |= {key: value for key, value in given.items() if key != "second_per_grid_ts"}
    out = model(input_ids=ids, position_ids=positions, mm_token_type_ids=types, use_cache=False, **vision, **kwargs)
    return out, positions[:, 0]


def response_log_probs(logits: torch.Tensor, response: list[int]) -> torch.Tensor:
    """log softmax of the raw logits over the full vocabulary at each response token: [T]."""
    span = logits[0, -len(response) - 1 : -1]
    return span.log_softmax(-1).gather(1, torch.tensor(response)[:, None])[:, 0]


def greedy(model, inputs, count: int, penalty: float):
    """Greedy tokens (at most `count`, until a stop token), and the smallest lead of the best token over the second."""
    out = model.generate(
        **inputs,
        max_new_tokens=count,
        do_sample=False,
        temperature=None,
        top_p=None,
        top_k=None,
        repetition_penalty=penalty,
        output_scores=True,
        return_dict_in_generate=True,
    )
    tokens = out.sequences[0, inputs["input_ids"].shape[1] :].tolist()
    lead = min(float(s[0].topk(2).values.diff().abs()) for s in out.scores)
    return tokens, lead
