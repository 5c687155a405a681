"""TRL's GRPOTrainer with transformers' Qwen2.5-VL, one optimiser step per `step` line (see protocol.py).

The settings are ours: no KL, one update per batch, as many sequences at once as fit, no gradient checkpointing,
rollouts of exactly `maxNewTokens` tokens at temperature 1. `--precision bfloat16` is TRL's default: bfloat16 autocast.
Counted: processing of images and text, generation, rewards, forward, backward, optimiser. Not counted, in the peer's
favour: reading and decoding the images, which the trainer's data loader has done before the step begins.

`--tuned` is what a user who has profiled it might change: on a CPU, TRL's head projects every position of a sequence,
in float32, and recomputes the projection in the backward pass; here it projects the positions of the completion, in the
precision of the rest, once. The driver also sets glibc's allocator (comparisons.ts).
"""

from __future__ import annotations

import tempfile
import time

import protocol

import datasets
import torch
import transformers
import trl
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

# Placeholders in a rollout would be taken for images; the model must never say them.
FORBIDDEN = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"]

# More than any run asks for.
MOST_STEPS = 200


def reward(completion_ids: list[list[int]], **_) -> list[float]:
    """Any reward that differs between the members of a group: the mean token id."""
    return [sum(ids) / len(ids) / 1000 for ids in completion_ids]


def dataset(workload: dict) -> datasets.Dataset:
    rows = [
        {"prompt": [{"role": "user", "content": sample["problem"]}], "image": sample["image"]}
        for sample in workload["samples"] * MOST_STEPS
    ]
    return datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())


def config(options, workload: dict, forbidden: list[int], folder: str) -> GRPOConfig:
    count = len(workload["samples"]) * workload["group"]
    sequences = options.sequences or count
    return GRPOConfig(
        output_dir=folder,
        use_cpu=not torch.cuda.is_available(),
        per_device_train_batch_size=sequences,
        gradient_accumulation_steps=count // sequences,
        num_generations=workload["group"],
        max_completion_length=workload["maxNewTokens"],
        generation_kwargs={"min_new_tokens": workload["maxNewTokens"], "suppress_tokens": forbidden},
        temperature=1.0,
        beta=0.0,
        num_iterations=1,
        loss_type="grpo",
        learning_rate=1e-6,
        gradient_checkpointing=options.checkpointed,
        bf16=options.precision == "bfloat16",
        shuffle_dataset=False,
        max_steps=MOST_STEPS,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=0,
    )


def adapter(rank: int):
    """On every projection of the decoder, as ours."""
    if rank == 0:
        return None
    from peft import LoraConfig

    names = "q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj"
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=rf".*language_model.*\.({names})")


class Driven(TrainerCallback):
    """Waits for the driver before every step and tells it what the step took."""

    def __init__(self, phases: protocol.Phases, tokens: int, prompt_tokens: list[int]) -> None:
        self.phases, self.tokens, self.prompt_tokens = phases, tokens, prompt_tokens

    def on_step_begin(self, args, state, control, **kwargs):
        if not protocol.wait_for_step():
            control.should_training_stop = True
            raise SystemExit(0)
        self.phases.take()
        self.cpu = time.process_time()
        self.clock = self.phases.time("total")
        self.clock.__enter__()

    def on_step_end(self, args, state, control, **kwargs):
        self.clock.__exit__(None, None, None)
        seconds = self.phases.take()
        # `prepare` encloses generation; `forward` is the log-probabilities with gradient.
        seconds["prepare"] = round(seconds["prepare"] - seconds["generate"], 5)
        shape = {"tokens": self.tokens, "promptTokens": self.prompt_tokens[0]}
        cpu = round(time.process_time() - self.cpu, 5)
        protocol.answer({"seconds": seconds, "cpuSeconds": cpu, **shape, **protocol.memory()})


def check_lengths(generate, new_tokens: int, prompt_tokens: list[int]):
    """A rollout that stopped early would make the comparison unfair: fail instead. Notes the prompt's length."""

    def checked(**inputs):
        out = generate(**inputs)
        prompt_tokens[:] = [inputs["input_ids"].shape[1]]
        if out.shape[1] - prompt_tokens[0] != new_tokens:
            raise RuntimeError(f"generated {out.shape[1] - prompt_tokens[0]} tokens, not {new_tokens}")
        return out

    return checked


class TunedTrainer(GRPOTrainer):
    """Log-probabilities of the completion's positions only, in chunks that are kept for the backward pass."""

    def _get_per_token_logps_and_entropies(self, model, input_ids, attention_mask, logits_to_keep, **inputs):
        shown = ("pixel_values", "image_grid_thw", "mm_token_type_ids")
        with self.accelerator.autocast():
            states = model.model(
                input_ids=input_ids,
                attention_mask=attention_mask,
                use_cache=False,
                **{name: inputs[name] for name in shown if inputs.get(name) is not None},
            ).last_hidden_state[:, -logits_to_keep - 1 : -1]
            # A sequence at a time: all logits at once would not fit.
            chunks = [
                score(model.lm_head(each), ids)
                for each, ids in zip(states, input_ids[:, -logits_to_keep:], strict=True)
            ]
        logps, entropies = (torch.stack(each) for each in zip(*chunks, strict=True))
        return logps, entropies if inputs.get("compute_entropy") else None, None


def score(logits: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    logps = logits.float().log_softmax(-1)
    with torch.no_grad():
        entropy = -(logps.exp() * logps).sum(-1)
    return logps.gather(-1, ids.unsqueeze(-1)).squeeze(-1), entropy


def main() -> None:
    options, workload = protocol.arguments()
    processor = AutoProcessor.from_pretrained(workload["model"], padding_side="left")
    # The base of an adapter may stay in bfloat16; weights that are trained may not.
    frozen = options.lora > 0 and options.precision == "bfloat16"
    dtype = torch.bfloat16 if frozen else torch.float32
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(workload["model"], dtype=dtype)
    forbidden = processor.tokenizer.convert_tokens_to_ids(FORBIDDEN)
    # Only what the workload says shapes sampling, not the checkpoint's published defaults.
    model.generation_config.repetition_penalty = 1.0
    phases = protocol.Phases()
    tokens = len(workload["samples"]) * workload["group"] * workload["maxNewTokens"]
    prompt_tokens: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = (TunedTrainer if options.tuned else GRPOTrainer)(
            model=model,
            reward_funcs=reward,
            args=config(options, workload, forbidden, folder),
            train_dataset=dataset(workload),
            processing_class=processor,
            callbacks=[Driven(phases, tokens, prompt_tokens)],
            peft_config=adapter(options.lora),
        )
        trainer._prepare_inputs = phases.wrap("prepare", trainer._prepare_inputs)
        trainer.compute_loss = phases.wrap("forward", trainer.compute_loss)
        trainer.accelerator.backward = phases.wrap("backward", trainer.accelerator.backward)
        checked = check_lengths(model.generate, workload["maxNewTokens"], prompt_tokens)
        model.generate = phases.wrap("generate", checked)
        create = trainer.create_optimizer

        def timed_optimizer(*args, **kwargs):
            optimizer = create(*args, **kwargs)
            optimizer.step = phases.wrap("optimizer", optimizer.step)
            return optimizer

        trainer.create_optimizer = timed_optimizer
        protocol.answer(
            {
                "ready": True,
                "peer": f"TRL {trl.__version__}, transformers {transformers.__version__}",
                "sequences": trainer.args.per_device_train_batch_size,
                **protocol.engine(),
                "parameters": sum(p.numel() for p in model.parameters()),
                **protocol.memory(),
            }
        )
        trainer.train()


if __name__ == "__main__":
    main()
