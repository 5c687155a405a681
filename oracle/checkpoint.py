"""Random Qwen2.5-VL checkpoints of any size, in the layout that `save_pretrained` writes.

The weights are not what training would give: they are spread so that every part of the network moves the logits
(a mistake in a norm, a bias or a rotary section must be visible), which the usual 0.02 initialisation hides.
"""

from __future__ import annotations

import json
import math
import pathlib

import tvshim  # noqa: F401  (before transformers)
import torch
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

# The order in which Qwen2.5's added tokens follow its vocabulary; True: a special token (skipped when decoding).
QWEN_ADDED_TOKENS = [
    ("<|endoftext|>", True), ("<|im_start|>", True), ("<|im_end|>", True),
    ("<|object_ref_start|>", True), ("<|object_ref_end|>", True), ("<|box_start|>", True), ("<|box_end|>", True),
    ("<|quad_start|>", True), ("<|quad_end|>", True), ("<|vision_start|>", True), ("<|vision_end|>", True),
    ("<|vision_pad|>", True), ("<|image_pad|>", True), ("<|video_pad|>", True),
    ("<tool_call>", False), ("</tool_call>", False), ("<|fim_prefix|>", False), ("<|fim_middle|>", False),
    ("<|fim_suffix|>", False), ("<|fim_pad|>", False), ("<|repo_name|>", False), ("<|file_sep|>", False),
]  # fmt: skip

THINKING_TOKENS = [("<think>", False), ("</think>", False), ("<answer>", False), ("</answer>", False)]

# What the byte-level BPE learns its few merges from.
CORPUS = """find the red circle and the blue square in the picture
You are a helpful assistant. system user assistant
Please find the green triangle with bboxs. where is it? think answer
[{"bbox_2d":[10,20,30,40],"label":"red circle"},{"bbox_2d":[100,120,130,140]}] bbox bbox_2d point_2d
""" * 3

# The chat template of Qwen2.5-VL-Instruct.
CHAT_TEMPLATE = (
    "{% set image_count = namespace(value=0) %}{% set video_count = namespace(value=0) %}"
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else %}"
    "{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "{% set image_count.value = image_count.value + 1 %}"
    "{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif content['type'] == 'video' or 'video' in content %}"
    "{% set video_count.value = video_count.value + 1 %}"
    "{% if add_vision_id %}Video {{ video_count.value }}: {% endif %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


# What Qwen3-VL's templates write: no system turn unless there is one, and nothing is trimmed. The one of Thinking models
# opens a thought in the prompt, and takes thoughts of earlier turns out.
QWEN3_PARTS = (
    "{% macro parts(content) %}{% if content is string %}{{ content }}{% else %}{% for part in content %}"
    "{% if part.type == 'image' or 'image' in part or 'image_url' in part %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part.type == 'video' or 'video' in part %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part.text }}{% endif %}{% endfor %}{% endif %}{% endmacro %}"
)
QWEN3_TEMPLATE = QWEN3_PARTS + (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ parts(message.content) }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN3_THINKING_TEMPLATE = QWEN3_PARTS + (
    "{% for message in messages %}{% set text = parts(message.content) %}<|im_start|>{{ message.role }}\n"
    "{% if message.role == 'assistant' %}{% if loop.last %}"
    "<think>\n{{ text.split('</think>')[0].split('<think>')[-1].strip('\n') if '</think>' in text else '' }}\n</think>\n\n"
    "{% endif %}{{ text.split('</think>')[-1].lstrip('\n') }}{% else %}{{ text }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)


def make_tokenizer(vocab_size: int = 320, corpus: str = CORPUS) -> Qwen2Tokenizer:
    """Qwen2's tokenizer with 256 byte tokens, a few merges, Qwen's added tokens and the thinking tags."""
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[],
        show_progress=False,
    )
    bpe.train_from_iterator(corpus.splitlines(), trainer)
    return build_tokenizer(bpe)


def build_tokenizer(bpe: Tokenizer) -> Qwen2Tokenizer:
    model = json.loads(bpe.to_str())["model"]
    vocab = dict(sorted(model["vocab"].items(), key=lambda item: item[1]))
    merges = [tuple(pair) for pair in model["merges"]]
    # Named in the vocabulary too, so that their ids keep Qwen's order; `save` takes them out of it again.
    tokenizer = Qwen2Tokenizer(
        vocab=vocab | {t: len(vocab) + i for i, (t, _) in enumerate(QWEN_ADDED_TOKENS + THINKING_TOKENS)},
        merges=merges,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token=None,
        model_max_length=131072,
        split_special_tokens=False,
    )
    tokenizer.add_tokens(
        [
            AddedToken(text, special=special, normalized=False)
            for text, special in QWEN_ADDED_TOKENS + THINKING_TOKENS
        ]
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make_processor(tokenizer: Qwen2Tokenizer, min_pixels: int, max_pixels: int) -> Qwen2_5_VLProcessor:
    image = Qwen2VLImageProcessor(min_pixels=min_pixels, max_pixels=max_pixels)
    video = Qwen2VLVideoProcessor(min_pixels=min_pixels, max_pixels=max_pixels)
    return Qwen2_5_VLProcessor(
        image_processor=image, tokenizer=tokenizer, video_processor=video, chat_template=CHAT_TEMPLATE
    )


def make_qwen3_processor(tokenizer: Qwen2Tokenizer, pixels: tuple, volume: tuple, template: str) -> Qwen3VLProcessor:
    """Limits of the area of images, and of all frames of a video together."""
    size = lambda limits: {"shortest_edge": limits[0], "longest_edge": limits[1]}  # noqa: E731
    halves = {"patch_size": 16, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    image = Qwen2VLImageProcessor(**halves, size=size(pixels))
    video = Qwen3VLVideoProcessor(**halves, size=size(volume))
    return Qwen3VLProcessor(image_processor=image, tokenizer=tokenizer, video_processor=video, chat_template=template)


def make_config(tokenizer: Qwen2Tokenizer, text: dict, vision: dict, tie: bool = False) -> Qwen2_5_VLConfig:
    token = tokenizer.convert_tokens_to_ids
    vocab_size = math.ceil(len(tokenizer) / 16) * 16  # padded, as the published checkpoints are
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": vocab_size,
            "bos_token_id": token("<|endoftext|>"),
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
            "tie_word_embeddings": tie,
            **text,
        },
        vision_config=vision,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=tie,
    )


@torch.no_grad()
def spread_weights(model: torch.nn.Module, seed: int, logit_std: float = 3.0) -> None:
    """Norm weights 1 +- 0.2, biases 0.3, matrices 1.2 / sqrt(fan in), head so that logits have about `logit_std`."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("weight") and parameter.ndim == 1 and ("norm" in name or "ln_q" in name):
            value = 1 + 0.2 * noise
        elif parameter.ndim == 1:
            value = 0.3 * noise
        elif name.endswith("embed_tokens.weight"):
            tied = model.config.tie_word_embeddings
            value = noise * (logit_std / math.sqrt(parameter.shape[1]) if tied else 1.0)
        elif name == "lm_head.weight":
            value = noise * logit_std / math.sqrt(parameter.shape[1])
        else:
            value = 1.2 * noise / math.sqrt(parameter[0].numel())
        parameter.copy_(value)


def make_model(config: Qwen2_5_VLConfig, seed: int, logit_std: float = 3.0) -> Qwen2_5_VLForConditionalGeneration:
    torch.manual_seed(seed)
    config.dtype = torch.float32
    model = Qwen2_5_VLForConditionalGeneration(config).eval()
    spread_weights(model, seed, logit_std)
    token = config.text_config
    # As in the published checkpoints, the repetition penalty included: it must not reach training.
    model.generation_config = GenerationConfig(
        bos_token_id=token.bos_token_id,
        eos_token_id=[token.eos_token_id, token.bos_token_id],
        pad_token_id=token.pad_token_id,
        do_sample=True,
        repetition_penalty=1.05,
        temperature=0.1,
        top_p=0.001,
        top_k=1,
    )
    return model


def save(directory: pathlib.Path, model, processor) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    tidy_tokenizer(directory)
    for file in directory.iterdir():
        file.chmod(0o644)


def tidy_tokenizer(directory: pathlib.Path) -> None:
    """Takes added tokens out of the vocabulary: published files name them once."""
    path = directory / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    for token in tokenizer["added_tokens"]:
        tokenizer["model"]["vocab"].pop(token["content"], None)
    path.write_text(json.dumps(tokenizer, ensure_ascii=False, indent=1) + "\n")
