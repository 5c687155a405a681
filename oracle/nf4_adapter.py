"""Makes fixtures/quantized/adapter: LoRA on a base in NF4, by transformers, PEFT and bitsandbytes on the CPU.

    python oracle/nf4_adapter.py    (needs bitsandbytes 0.50.2 beside oracle/requirements.txt)

The adapter is on all linear layers of the decoder of the tiny Qwen2.5-VL, which are in four bits; the tower, embeddings and
the head are left as they are. expected.json: log-probabilities by case and response, in float32, with products in bfloat16
(`logProbsBfloat16`) and of the base in full (`logProbsFull`); `codes`, digests of the bytes and magnitudes of every layer.

The library for CPUs unpacks rows whose length is no multiple of a block wrongly (64 x 112: off by more than 2); bitsandbytes'
operator for other devices, which agrees with that of GPUs, takes its place here.

gradients.safetensors: of the sum of weight times log-probability over all cases; trained.safetensors: A and B after a step of AdamW.
"""

import hashlib
import json
import pathlib

import bitsandbytes  # noqa: F401  (its operators)
import reference
import torch
from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
from bitsandbytes.backends.utils import _get_4bit_code
from peft import LoraConfig, get_peft_model
from peft_adapter import file_key, inputs_of, spread
from safetensors.torch import save_file
from transformers import BitsAndBytesConfig, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

TINY = pathlib.Path(__file__).parent / "fixtures" / "tiny-qwen2_5-vl"
TARGET = pathlib.Path(__file__).parent / "fixtures" / "quantized" / "adapter"
LORA = LoraConfig(r=4, lora_alpha=8, target_modules=r"model\.language_model\.layers\..*_proj")
ADAMW = {"lr": 1e-2, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}


def dequantize(packed, absmax, blocksize, quant_type, shape, dtype):
    code = _get_4bit_code(quant_type, packed.device)
    return _dequantize_4bit_compute(packed.reshape(-1), absmax, code, blocksize, shape, dtype)


OPERATORS = torch.library.Library("bitsandbytes", "IMPL")
OPERATORS.impl("dequantize_4bit", dequantize, "CPU", allow_override=True)


def load(compute=None):
    """The base in full where no dtype of products is named."""
    packed = compute and BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=compute,
        llm_int8_skip_modules=["model.visual", "lm_head"],
    )
    base = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        TINY / "model", dtype=torch.float32, quantization_config=packed, device_map={"": "cpu"} if packed else None
    )
    model = get_peft_model(base.eval(), LORA)
    spread(model, 7)
    # Without a gradient bitsandbytes would pack weights anew for its kernels of bfloat16.
    for each in model.modules():
        if hasattr(each, "support_avx512bf16_for_cpu"):
            each.support_avx512bf16_for_cpu = False
    return model


def digest(tensor) -> str:
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


def main() -> None:
    torch.set_num_threads(1)
    cases = json.loads((TINY / "cases.json").read_text())
    processor = Qwen2_5_VLProcessor.from_pretrained(TINY / "model")
    model, half, full = load(torch.float32), load(torch.bfloat16), load()
    model.save_pretrained(TARGET)
    (TARGET / "README.md").unlink(missing_ok=True)
    path = TARGET / "adapter_config.json"
    saved = json.loads(path.read_text()) | {"base_model_name_or_path": "../../tiny-qwen2_5-vl/model"}
    path.write_text(json.dumps(saved, indent=2) + "\n")

    expected = {}
    trained = {key: p for key, p in model.named_parameters() if p.requires_grad}
    for name, case in cases.items():
        inputs = inputs_of(processor, case)
        expected[name] = []
        for member in case["responses"]:
            tokens = member["tokens"]
            out, _ = reference.forward(model.base_model.model, inputs, tokens)
            log_probs = reference.response_log_probs(out.logits, tokens)
            (member["weight"] * log_probs.sum()).backward()
            with torch.no_grad():
                others = [reference.forward(each.base_model.model, inputs, tokens)[0].logits for each in (half, full)]
            rest = [reference.response_log_probs(each.float(), tokens).tolist() for each in others]
            entry = {"logProbs": log_probs.tolist(), "logProbsBfloat16": rest[0], "logProbsFull": rest[1]}
            expected[name].append(entry)
    save_file({file_key(key): p.grad for key, p in trained.items()}, TARGET / "gradients.safetensors")
    # Ascending: the sum of weighted log-probabilities is to fall.
    torch.optim.AdamW(trained.values(), **ADAMW).step()
    save_file({file_key(key): p.data for key, p in trained.items()}, TARGET / "trained.safetensors")

    codes = {}
    for name, module in model.named_modules():
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        if state is not None:
            key = name.removeprefix("base_model.model.").removesuffix(".base_layer")
            codes[key] = [digest(module.weight.data), digest(state.absmax)]
    (TARGET / "expected.json").write_text(json.dumps({"codes": codes, "cases": expected}, indent=1) + "\n")
    for file in TARGET.iterdir():
        file.chmod(0o644)
    print(f"{len(codes)} layers in four bits, {len(trained)} tensors of the adapter")


if __name__ == "__main__":
    main()
