"""TRL's GRPOTrainer with transformers' Qwen2.5-VL, one optimiser step per `step` line (see protocol.py).

The settings are ours: no KL, one update per batch, the whole batch at once, no gradient checkpointing (unless asked
for), rollouts of exactly `maxNewTokens` tokens at temperature 1. Counted: processing of images and text, generation,
rewards, forward, backward, optimiser. Not counted, in the peer's favour: reading and decoding the images, which the
trainer's data loader has done before the step begins.
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


def reward(completion_ids: list[list[int]], **_) -> list[float]:
    """Any reward that differs between the members of a group: the share of even token ids."""
    return [sum(1 - token % 2 for token in ids) / len(ids) for ids in completion_ids]


def dataset(workload: dict) -> datasets.Dataset:
    rows = []
    for sample in workload["samples"] * workload["repeats"]:
        system = [{"role": "system", "content": sample["system"]}] if sample.get("system") else []
        rows.append({"prompt": [*system, {"role": "user", "content": sample["problem"]}], "image": sample["image"]})
    return datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())


def config(options, workload: dict, forbidden: list[int], folder: str) -> GRPOConfig:
    count = workload["promptsPerStep"] * workload["group"]
    return GRPOConfig(
        output_dir=folder,
        use_cpu=not torch.cuda.is_available(),
        per_device_train_batch_size=count // workload["microBatches"],
        gradient_accumulation_steps=workload["microBatches"],
        num_generations=workload["group"],
        max_completion_length=workload["maxNewTokens"],
        generation_kwargs={"min_new_tokens": workload["maxNewTokens"], "suppress_tokens": forbidden},
        temperature=1.0,
        beta=0.0,
        num_iterations=1,
        loss_type="grpo",
        learning_rate=1e-6,
        gradient_checkpointing=options.gradient_checkpointing,
        bf16=options.precision == "bfloat16",
        shuffle_dataset=False,
        max_steps=len(workload["samples"]) * workload["repeats"] // workload["promptsPerStep"],
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=0,
    )


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


def main() -> None:
    options, workload = protocol.arguments()
    processor = AutoProcessor.from_pretrained(workload["model"], padding_side="left")
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(workload["model"], dtype=torch.float32)
    forbidden = processor.tokenizer.convert_tokens_to_ids(FORBIDDEN)
    # Only what the workload says shapes sampling, not the checkpoint's published defaults.
    model.generation_config.repetition_penalty = 1.0
    phases = protocol.Phases()
    tokens = workload["promptsPerStep"] * workload["group"] * workload["maxNewTokens"]
    prompt_tokens: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=reward,
            args=config(options, workload, forbidden, folder),
            train_dataset=dataset(workload),
            processing_class=processor,
            callbacks=[Driven(phases, tokens, prompt_tokens)],
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
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
                "parameters": sum(p.numel() for p in model.parameters()),
                **protocol.memory(),
            }
        )
        trainer.train()


if __name__ == "__main__":
    main()
