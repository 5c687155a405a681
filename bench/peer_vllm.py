"""vLLM's offline engine on CPUs: the workload's prompts, G samples each, `maxNewTokens` tokens (see protocol.py).

The engine is in this process, so that its time and memory are counted whole; models are compiled, which is its default.
A group shares the keys and values of its prompt by prefix caching, in blocks of 32 tokens (the default of 128 would
share nothing of a short prompt). Nothing is kept from one step to the next, as nothing is in training: the weights would
have changed. So every step's images differ from those before in one pixel. In the peer's favour: reading and decoding of
images is not counted, texts are not decoded, and the log-probabilities that training needs are not asked for.
"""

from __future__ import annotations

import os

os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"

import protocol

import torch

LEVEL = os.environ.get("ATEN_CPU_CAPABILITY")
if LEVEL == "avx2":
    # vLLM chooses its own kernels by the processor's flags alone.
    torch.cpu._is_avx512_supported = torch.cpu._is_avx512_bf16_supported = lambda: False
    torch.cpu._is_amx_tile_supported = lambda: False

import vllm
from PIL import Image
from transformers import AutoConfig, AutoProcessor
from vllm import LLM, SamplingParams, _custom_ops

# Placeholders in a rollout would be taken for images; the model must never say them.
FORBIDDEN = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"]

# Of a prompt with its response: more than any workload has.
LONGEST = 1024


def cache_bytes(config, sequences: int, item: int) -> int:
    """Keys and values of as many sequences as there are at once, each of them the longest."""
    text = config.text_config
    size = text.hidden_size // text.num_attention_heads
    return sequences * LONGEST * 2 * text.num_hidden_layers * text.num_key_value_heads * size * item


def main() -> None:
    options, workload = protocol.arguments()
    processor = AutoProcessor.from_pretrained(workload["model"])
    samples, group, new_tokens = workload["samples"], workload["group"], workload["maxNewTokens"]
    config = AutoConfig.from_pretrained(workload["model"])
    if LEVEL == "avx512" and options.precision == "float32":
        # vLLM 0.32.0 writes beyond its buffers in float32 products of its AVX512 build ("malloc_consolidate(): invalid
        # chunk size", in onednn_mm of the vision tower); PyTorch's linear layers are what it falls back to itself.
        _custom_ops._supports_onednn = False
    engine = LLM(
        workload["model"],
        dtype=options.precision,
        max_model_len=LONGEST,
        max_num_seqs=len(samples) * group,
        block_size=32,
        kv_cache_memory_bytes=cache_bytes(config, len(samples) * group, 2 if options.precision == "bfloat16" else 4),
        limit_mm_per_prompt={"image": 1, "video": 0},
        mm_processor_cache_gb=0,
        generation_config="vllm",
        seed=0,
    )
    forbidden = processor.tokenizer.convert_tokens_to_ids(FORBIDDEN)
    sampling = SamplingParams(
        n=group,
        temperature=1.0,
        max_tokens=new_tokens,
        ignore_eos=True,
        detokenize=False,
        logit_bias={token: -100.0 for token in forbidden},
    )
    images = [Image.open(sample["image"]).convert("RGB") for sample in samples]
    texts = [
        processor.apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": sample["problem"]}]}],
            tokenize=False,
            add_generation_prompt=True,
        )
        for sample in samples
    ]
    phases = protocol.Phases()
    count = 0

    def step() -> dict:
        nonlocal count
        count += 1
        for image in images:
            image.putpixel((0, 0), (count % 256, count // 256, 0))
        with phases.time("total"):
            with phases.time("prepare"):
                prompts = [
                    {"prompt": text, "multi_modal_data": {"image": image}}
                    for text, image in zip(texts, images, strict=True)
                ]
                engine.enqueue(prompts, sampling, use_tqdm=False)
            with phases.time("generate"):
                outputs = engine.wait_for_completion(use_tqdm=False)
        lengths = {len(response.token_ids) for output in outputs for response in output.outputs}
        if lengths != {new_tokens} or any(len(output.outputs) != group for output in outputs):
            raise RuntimeError(f"generated {lengths} tokens, not {group} times {new_tokens}")
        return {
            "seconds": phases.take(),
            "tokens": len(samples) * group * new_tokens,
            "promptTokens": len(outputs[0].prompt_token_ids),
        }

    protocol.serve({"peer": f"vLLM {vllm.__version__} for CPUs"}, step)


if __name__ == "__main__":
    main()
