"""Supervised steps in plain PyTorch with transformers' model: forward, backward, clip, fused AdamW (see protocol.py).

A batch is the workload's prompts with responses of `maxNewTokens` tokens; the loss is the mean over response tokens, and
the head is applied to response positions only (as a careful user would write it). Counted: processing of images and
text, and the step.
"""

from __future__ import annotations

import protocol

import torch
import transformers
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from peer_generate import conversations, encode


def main() -> None:
    options, workload = protocol.arguments()
    processor = AutoProcessor.from_pretrained(workload["model"], padding_side="left")
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(workload["model"], dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    messages, images = conversations(workload)
    count = workload["maxNewTokens"]
    # Any tokens below the added ones will do.
    responses = torch.randint(0, 128, (len(messages), count), generator=torch.Generator().manual_seed(0))
    phases = protocol.Phases()

    def batch() -> dict:
        inputs = encode(processor, messages, images)
        extend = lambda key, tail: torch.cat([inputs[key], tail], dim=1)  # noqa: E731
        return {
            "input_ids": extend("input_ids", responses),
            "attention_mask": extend("attention_mask", torch.ones_like(responses)),
            "mm_token_type_ids": extend("mm_token_type_ids", torch.zeros_like(responses)),
            "pixel_values": inputs["pixel_values"],
            "image_grid_thw": inputs["image_grid_thw"],
        }

    def step() -> dict:
        with phases.time("total"):
            with phases.time("prepare"):
                inputs = batch()
            with phases.time("forward"), torch.autocast("cpu", torch.bfloat16, options.precision == "bfloat16"):
                logits = model(**inputs, use_cache=False, logits_to_keep=count + 1).logits[:, :-1]
                loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), responses.flatten())
            with phases.time("backward"):
                loss.backward()
            with phases.time("optimizer"):
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
        return {"seconds": phases.take(), "tokens": int(inputs["attention_mask"].sum())}

    protocol.serve({"peer": f"PyTorch {torch.__version__}, transformers {transformers.__version__}"}, step)


if __name__ == "__main__":
    main()
