"""transformers' `generate` on the workload's prompts, G samples each, `maxNewTokens` tokens (see protocol.py).

The whole batch at once, KV cache, temperature 1, no stopping. Counted: processing of images and text (each image once),
generation.
"""

from __future__ import annotations

import protocol

import torch
import transformers
from PIL import Image
from transformers import AutoProcessor, GenerationConfig, Qwen2_5_VLForConditionalGeneration

from peer_trl import FORBIDDEN


def conversations(workload: dict) -> tuple[list[list[dict]], list[Image.Image]]:
    messages = []
    for sample in workload["samples"]:
        content = [{"type": "image"}, {"type": "text", "text": sample["problem"]}]
        messages.append([{"role": "user", "content": content}])
    return messages, [Image.open(sample["image"]).convert("RGB") for sample in workload["samples"]]


def encode(processor, messages, images):
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return processor(text=text, images=[[image] for image in images], padding=True, return_tensors="pt")


def main() -> None:
    options, workload = protocol.arguments()
    dtype = torch.bfloat16 if options.precision == "bfloat16" else torch.float32
    processor = AutoProcessor.from_pretrained(workload["model"], padding_side="left")
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(workload["model"], dtype=dtype).eval()
    new_tokens, group = workload["maxNewTokens"], workload["group"]
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=new_tokens,
        min_new_tokens=new_tokens,
        num_return_sequences=group,
        suppress_tokens=processor.tokenizer.convert_tokens_to_ids(FORBIDDEN),
        eos_token_id=processor.tokenizer.eos_token_id,
        pad_token_id=processor.tokenizer.pad_token_id,
    )
    messages, images = conversations(workload)
    phases = protocol.Phases()

    def step() -> dict:
        with phases.time("total"):
            with phases.time("prepare"):
                inputs = encode(processor, messages, images)
            with phases.time("generate"), torch.no_grad():
                out = model.generate(**inputs)
        produced = out.shape[1] - inputs["input_ids"].shape[1]
        if produced != new_tokens:
            raise RuntimeError(f"generated {produced} tokens, not {new_tokens}")
        return {
            "seconds": phases.take(),
            "tokens": len(messages) * group * new_tokens,
            "promptTokens": int(inputs["attention_mask"].sum()) // len(messages),
        }

    protocol.serve({"peer": f"transformers {transformers.__version__} generate"}, step)


if __name__ == "__main__":
    main()
