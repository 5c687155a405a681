"""ViSurf built on TRL's GRPOTrainer, by what TRL 1.16 offers: a `rollout_func` and a reward function, no patch.

The label is the last of the G + 1 members of a group: `num_generations` is G + 1, the `rollout_func` samples G
responses of every prompt with transformers' generate and appends the label, and the reward function computes r(y) and
r(o_j) of whole groups, with the three controls (align, eliminate, smooth). Settings are the recipe's: data and its
order, number of updates, sampling, reward terms (computed by our own scorer, a child process), AdamW, its schedule,
clipping, micro-batches. No KL, one update per batch, float32, no gradient checkpointing. `max_completion_length` only
is the constant that TRL's `dr_grpo` divides by: the `rollout_func` alone says how long a rollout may be.

What differs from our trainer, because TRL 1.16 has no public means for it:
- The advantage of a label that `smooth` switches off cannot be set. Its reward becomes the mean of its rollouts, and
  its advantage 0 up to the rounding of float32; it goes through the model all the same.
- The advantage is divided by the std + 1e-4, ours by the std + 1e-6. A group with equal rewards is not left out.
- A prompt and its image are computed for every member again.
- The noise of sampling is torch's, not ours.
- A `rollout_func` gets messages and no other column of the dataset: the row is a field of the message.
What `align` counts is not saved: a resumed run begins to count anew (a stateful callback could keep it).

Two checks: with `replay` in the workload the responses of one step of ours are taken for rollouts, and the gradient is
compared; with `saveAt` a run is made twice and resumed once from its checkpoint, and the weights are compared.
"""

from __future__ import annotations

import collections
import copy
import json
import pathlib
import statistics
import subprocess
import time

import protocol

import datasets
import safetensors.torch
import torch
import transformers
import trl
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration, TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl.models import unwrap_model_for_generation

# Steps that `align` remembers, and the one at hand.
REMEMBERED = 16 + 1


class Scorer:
    """The task's reward terms: our own scorer as a child process, one line per step."""

    def __init__(self, command: list[str]) -> None:
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, responses: list[tuple[int, str, str]]) -> list[dict]:
        self.child.stdin.write(json.dumps(responses) + "\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())

    def peak(self) -> float:
        return protocol.memory(self.child.pid)["peakMb"]


class Forms:
    """Align: the surface form that well-formed rollouts used most, of equals the first."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.steps: collections.deque[collections.Counter] = collections.deque(maxlen=REMEMBERED)

    def preferred(self) -> str:
        uses = sum(self.steps, collections.Counter())
        return max(self.names, key=lambda name: uses[name])

    def remember(self, forms: list[str | None]) -> None:
        self.steps.append(collections.Counter(form for form in forms if form is not None))


class Rollouts:
    """TRL's `rollout_func`: G sampled responses of every prompt, then its label."""

    def __init__(self, workload: dict, processor, scorer: Scorer, forms: Forms, phases: protocol.Phases) -> None:
        self.workload, self.processor, self.scorer = workload, processor, scorer
        self.forms, self.phases = forms, phases

    def __call__(self, prompts: list[list[dict]], trainer: GRPOTrainer) -> dict:
        group = self.workload["group"]
        # TRL repeats a prompt for each of its members.
        prompts = prompts[:: group + 1]
        rows = [prompt[-1]["row"] for prompt in prompts]
        with self.phases.time("prepare"):
            inputs = self.encode(prompts)
        prompt_ids = [ids[mask.bool()].tolist() for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"])]
        for row, ids in zip(rows, prompt_ids, strict=True):
            if ids != self.workload["rows"][row]["promptIds"]:
                raise RuntimeError(f"the prompt of row {row} is not the one that the other program reads")
        with self.phases.time("generate"):
            sampled = self.sample(inputs, rows, trainer)
        with self.phases.time("reward"):
            texts = self.processor.batch_decode(sampled, skip_special_tokens=True)
            answers = [(rows[place // group], text, "eos") for place, text in enumerate(texts)]
            self.forms.remember([each.get("form") for each in self.scorer(answers)])
        members = []
        for i, row in enumerate(rows):
            members += [*sampled[i * group : (i + 1) * group], self.label(row)]
        return {
            "prompt_ids": [ids for ids in prompt_ids for _ in range(group + 1)],
            "completion_ids": members,
            # Of no use here: the policy that samples is the one that is trained.
            "logprobs": None,
        }

    def encode(self, prompts: list[list[dict]]):
        texts = self.processor.apply_chat_template(prompts, add_generation_prompt=True, tokenize=False)
        images = [[part["image"] for part in prompt[-1]["content"] if part["type"] == "image"] for prompt in prompts]
        return self.processor(text=texts, images=images, padding=True, padding_side="left", return_tensors="pt")

    def sample(self, inputs, rows: list[int], trainer: GRPOTrainer) -> list[list[int]]:
        if "replay" in self.workload:
            return [each["tokens"] for row in rows for each in rollouts_of(self.workload["replay"]["groups"][row])]
        settings = copy.deepcopy(trainer.generation_config)
        settings.update(num_return_sequences=self.workload["group"], max_new_tokens=self.workload["maxNewTokens"])
        with unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator) as model, torch.no_grad():
            out = model.generate(**inputs, generation_config=settings)
        return [until_stop(ids, trainer.eos_token_ids) for ids in out[:, inputs["input_ids"].shape[1] :].tolist()]

    def label(self, row: int) -> list[int]:
        tokenizer = self.processor.tokenizer
        text = self.workload["rows"][row]["labels"][self.forms.preferred()]
        return [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]


def until_stop(ids: list[int], stops: list[int]) -> list[int]:
    """Up to the first stop token and with it: what follows is padding."""
    return next((ids[: at + 1] for at, each in enumerate(ids) if each in stops), ids)


def rollouts_of(group: list[dict]) -> list[dict]:
    return [each for each in group if each["kind"] == "rollout"]


class Rewards:
    """r(o_j) and r(y) of whole groups, with eliminate and smooth."""

    __name__ = "reward"

    def __init__(self, workload: dict, scorer: Scorer, phases: protocol.Phases) -> None:
        self.workload, self.scorer, self.phases = workload, scorer, phases
        self.stop_ids: list[int] = []
        # Of the last step, by group: the rewards with the label's last, and whether the label was active.
        self.groups: list[tuple[list[float], bool]] = []

    def __call__(self, completions, completion_ids, row: list[int], trainer_state, **_):
        texts = [completion[-1]["content"] for completion in completions]
        stops = ["eos" if ids[-1] in self.stop_ids else "length" for ids in completion_ids]
        with self.phases.time("reward"):
            scored = self.scorer(list(zip(row, texts, stops, strict=True)))
        size = self.workload["group"] + 1
        terms = [each["terms"] for each in scored]
        self.groups = [self.control(terms[at : at + size]) for at in range(0, len(terms), size)]
        return [reward for rewards, _ in self.groups for reward in rewards]

    def control(self, terms: list[dict[str, float]]) -> tuple[list[float], bool]:
        *rollouts, label = terms
        rewards = [self.total(each) for each in rollouts]
        own = self.total({**label, self.workload["thinkingTerm"]: 0})
        if max(rewards) >= own:
            return [*rewards, statistics.fmean(rewards)], False
        return [*rewards, own], True

    def total(self, terms: dict[str, float]) -> float:
        return sum(weight * terms[name] for name, weight in self.workload["weights"].items())


def dataset(workload: dict) -> datasets.Dataset:
    rows = [
        {
            "prompt": [{"role": "user", "content": each["text"], "row": row}],
            "image": each["sample"]["images"][0],
            "row": row,
        }
        for row, each in enumerate(workload["rows"])
    ]
    return datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())


def config(workload: dict) -> GRPOConfig:
    members = workload["group"] + 1
    return GRPOConfig(
        output_dir=workload["output"],
        use_cpu=True,
        per_device_train_batch_size=workload["microBatchPrompts"] * members,
        gradient_accumulation_steps=workload["promptsPerStep"] // workload["microBatchPrompts"],
        num_generations=members,
        max_completion_length=workload["normalizer"],
        generation_kwargs={"suppress_tokens": workload["forbidden"]},
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        beta=0.0,
        num_iterations=1,
        epsilon=workload["clip"]["low"],
        epsilon_high=workload["clip"]["high"],
        loss_type="dr_grpo",
        scale_rewards="group",
        max_grad_norm=workload["optimizer"]["clipNorm"],
        gradient_checkpointing=False,
        bf16=False,
        shuffle_dataset=False,
        max_steps=workload["steps"],
        logging_strategy="no",
        save_strategy="steps" if "saveAt" in workload else "no",
        save_steps=workload.get("saveAt", 1),
        report_to="none",
        disable_tqdm=True,
        seed=workload["seed"],
    )


def optimizer(workload: dict, model) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    settings, factors = workload["optimizer"], workload["factors"]
    adamw = torch.optim.AdamW(
        model.parameters(),
        lr=settings["learningRate"],
        betas=settings["betas"],
        weight_decay=settings["weightDecay"],
        fused=True,
    )
    return adamw, torch.optim.lr_scheduler.LambdaLR(adamw, lambda step: factors[min(step, len(factors) - 1)])


class Reported(TrainerCallback):
    """One line of JSON per step: seconds by phase, and how rollouts and labels fared."""

    def __init__(self, phases: protocol.Phases, rewards: Rewards) -> None:
        self.phases, self.rewards = phases, rewards
        self.trainer: GRPOTrainer | None = None

    def on_step_begin(self, args, state, control, **kwargs):
        self.phases.take()
        self.start, self.cpu = time.perf_counter(), time.process_time()

    def on_step_end(self, args, state, control, **kwargs):
        seconds = {**self.phases.take(), "total": round(time.perf_counter() - self.start, 5)}
        groups = self.rewards.groups
        size = len(groups[0][0])
        rollouts = [reward for rewards, _ in groups for reward in rewards[:-1]]
        labels = list(self.trainer._logs["advantages"])[size - 1 :: size]
        off = [abs(advantage) for advantage, (_, active) in zip(labels, groups, strict=True) if not active]
        protocol.answer(
            {
                "step": state.global_step,
                "seconds": seconds,
                "cpuSeconds": round(time.process_time() - self.cpu, 5),
                "reward": statistics.fmean(rollouts),
                "labelActive": sum(active for _, active in groups) / len(groups),
                # Advantage that a label keeps though it is switched off.
                "labelLeft": max(off, default=0.0),
            }
        )


def compare(trainer: GRPOTrainer, workload: dict, rewards: Rewards) -> dict[str, float]:
    """How far rewards, advantages and the gradient are from those of our step; the gradient relative to its norm."""
    groups = workload["replay"]["groups"]
    ordered = [[*rollouts_of(group), next(each for each in group if each["kind"] == "label")] for group in groups]
    expected = torch.tensor([[each["reward"] for each in group] for group in ordered], dtype=torch.float64)
    own = torch.tensor([each for each, _ in rewards.groups], dtype=torch.float64)
    advantages = torch.tensor(list(trainer._logs["advantages"]), dtype=torch.float64).view_as(own)
    closed = (own - own.mean(1, keepdim=True)) / (own.std(1, keepdim=True) + 1e-4)
    ours = torch.tensor([[each["advantage"] for each in group] for group in ordered], dtype=torch.float64)
    moments = safetensors.torch.load_file(workload["replay"]["moments"])
    difference, norm = 0.0, 0.0
    for name, parameter in trainer.model.named_parameters():
        moment = moments[f"exp_avg.{checkpoint_key(name)}"].double()
        difference += float((trainer.optimizer.state[parameter]["exp_avg"].double() - moment).square().sum())
        norm += float(moment.square().sum())
    return {
        "rewards": float((own - expected).abs().max()),
        "advantagesClosedForm": float((advantages - closed).abs().max()),
        "advantagesOurs": float((advantages - ours).abs().max()),
        "gradient": (difference / norm) ** 0.5,
    }


def checkpoint_key(name: str) -> str:
    """transformers' name of a parameter as checkpoints have it."""
    return name.replace("model.visual.", "visual.").replace("model.language_model.", "model.")


def make_trainer(workload: dict) -> tuple[GRPOTrainer, Rewards]:
    processor = AutoProcessor.from_pretrained(workload["model"], padding_side="left")
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(workload["model"], dtype=torch.float32)
    phases = protocol.Phases()
    scorer = Scorer(workload["scorer"])
    rewards = Rewards(workload, scorer, phases)
    report = Reported(phases, rewards)
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=rewards,
        args=config(workload),
        train_dataset=dataset(workload),
        processing_class=processor,
        rollout_func=Rollouts(workload, processor, scorer, Forms(list(workload["rows"][0]["labels"])), phases),
        optimizers=optimizer(workload, model),
        callbacks=[report],
    )
    report.trainer, rewards.stop_ids = trainer, trainer.eos_token_ids
    return trainer, rewards


def compare_resumed(workload: dict) -> dict[str, float]:
    """Largest difference of a weight to that of a run that was not stopped: of the same run again; of one that
    `resume_from_checkpoint` goes on with; and of one whose model was loaded from the checkpoint before that."""

    def weights(model: str, checkpoint: str | None = None) -> torch.Tensor:
        trainer, _ = make_trainer({**workload, "model": model})
        trainer.train(resume_from_checkpoint=checkpoint)
        return torch.cat([each.detach().flatten() for each in trainer.model.parameters()])

    base, checkpoint = workload["model"], str(pathlib.Path(workload["output"]) / f"checkpoint-{workload['saveAt']}")
    first = weights(base)
    runs = {"again": weights(base), "resumed": weights(base, checkpoint), "loaded": weights(checkpoint, checkpoint)}
    return {name: float((each - first).abs().max()) for name, each in runs.items()}


def train(workload: dict) -> None:
    trainer, rewards = make_trainer(workload)
    versions = f"TRL {trl.__version__}, transformers {transformers.__version__}"
    protocol.answer({"ready": True, "peer": versions, "torch": torch.__version__, "threads": torch.get_num_threads()})
    trainer.train()
    protocol.answer({"scorerPeakMb": rewards.scorer.peak(), **protocol.memory()})
    if "replay" in workload:
        protocol.answer({"differences": compare(trainer, workload, rewards)})
        return
    trainer.model.save_pretrained(workload["output"])
    trainer.processing_class.save_pretrained(workload["output"])


def main() -> None:
    _, workload = protocol.arguments()
    if "saveAt" in workload:
        protocol.answer({"resumed": compare_resumed(workload)})
    else:
        train(workload)


if __name__ == "__main__":
    main()
