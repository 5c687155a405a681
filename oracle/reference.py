"""Running the reference: what it sees, computes and would say, in float32 or in true float64."""

from __future__ import annotations

import contextlib
import copy

import tvshim  # noqa: F401  (before transformers)
import torch
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as modeling


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
        return q * cos + modeling.rotate_half(q) * sin, k * cos + modeling.rotate_half(k) * sin

    saved_norm, saved_rotate = modeling.Qwen2_5_VLRMSNorm.forward, modeling.apply_rotary_pos_emb_vision
    modeling.Qwen2_5_VLRMSNorm.forward, modeling.apply_rotary_pos_emb_vision = norm, rotate
    try:
        yield
    finally:
        modeling.Qwen2_5_VLRMSNorm.forward, modeling.apply_rotary_pos_emb_vision = saved_norm, saved_rotate


def to_float64(model):
    """A float64 copy; frequencies keep their float32 values."""
    return copy.deepcopy(model).double()


def encode(processor, messages, images):
    """Rendered text and model inputs of one conversation; user text is never read as control tokens."""
    rendered = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    inputs = processor(text=[rendered], images=images or None, return_tensors="pt")
    return rendered, inputs


def forward(model, inputs, response: list[int], **kwargs):
    """One pass over prompt + response; returns the output and the position ids [3, L + T]."""
    tail = torch.tensor([response], dtype=torch.long)
    ids = torch.cat([inputs["input_ids"], tail], dim=1)
    types = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(tail)], dim=1)
    grid = inputs.get("image_grid_thw")
    positions, _ = model.model.get_rope_index(ids, mm_token_type_ids=types, image_grid_thw=grid)
    pixels = inputs.get("pixel_values")
    vision = {} if pixels is None else {"pixel_values": pixels.to(model.dtype), "image_grid_thw": grid}
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
