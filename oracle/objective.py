"""Makes fixtures/objective.json: the objective on a fixed batch of groups, differentiated by autograd in float64.

    oracle/run.sh objective.py

    A_j    = (r_j - mean r) / (std r + 1e-6) over the group; 0 where all rewards are equal     (2), (6), (7)
    rho_t  = exp(log pi - log pi_old) of one token, or of the response: exp(mean over its tokens of the same)
    x_t    = min(rho A, clip(rho, 1 - low, 1 + high) A)                                        (3), (8)
    k_t    = exp(d) - d - 1 with d = log pi_ref - log pi; on labels only where asked for
    loss   = aggregate(-x_t + coefficient * k_t)
    sft    = aggregate(-log pi) over the labels                                                (1)

Variants:
    leave-one-out: A_j = r_j - mean of the other rewards                                       RLOO, arXiv 2402.14740
    labelShaping:  x_t = f(p) A for labels, f(p) = p / (p + gamma), p = pi(token)              LUFFY, arXiv 2504.14945, (6)
    weighting:     sft = aggregate(-w log pi), w detached: p (DFT, arXiv 2508.05629, (9)) or p (1 - p) (CHORD, (6))
    mixed:         (1 - mu) loss of the rollouts alone + mu sft                                CHORD, arXiv 2508.11408, (3)

aggregate, over all responses of all prompts (a response without a term counts with 0 in every denominator):
    sum, sequence:  mean over prompts of mean over members of (sum over tokens / normalizer)
    mean, sequence: mean over prompts of mean over members of (mean over tokens)
    mean, batch:    sum over all tokens / number of all tokens
"""

from __future__ import annotations

import itertools
import json
import pathlib

import torch

FILE = pathlib.Path(__file__).parent / "fixtures" / "objective.json"

LENGTHS = [[3, 5, 1, 7], [2, 4, 4, 6, 3], [4, 2, 9]]
REWARDS = [[4.0, 1.5, 0.5, 5.0], [3.0, 3.0, 3.0, 3.0, 3.0], [-0.5, 2.0, 2.5]]


def make_groups() -> list[list[dict]]:
    """The label is member 0. Current log-probabilities stray from the old ones far enough to meet both clips."""
    generator = torch.Generator().manual_seed(6)
    noise = lambda count, scale: torch.randn(count, generator=generator, dtype=torch.float64) * scale  # noqa: E731
    groups = []
    for lengths, rewards in zip(LENGTHS, REWARDS):
        members = []
        for index, (length, reward) in enumerate(zip(lengths, rewards)):
            old = -noise(length, 2.0).abs() - 0.5
            below = torch.tensor(-0.01, dtype=torch.float64)
            current = torch.minimum(old + noise(length, 0.3), below)
            reference = torch.minimum(old + noise(length, 0.4), below)
            members.append(
                {
                    "kind": "label" if index == 0 else "rollout",
                    "reward": reward,
                    "old": [round(v, 6) for v in old.tolist()],
                    "current": [round(v, 6) for v in current.tolist()],
                    "reference": [round(v, 6) for v in reference.tolist()],
                }
            )
        groups.append(members)
    return groups


def advantages(rewards: list[float], std: str, baseline: str = "mean") -> list[float]:
    if len(set(rewards)) == 1:
        return [0.0] * len(rewards)
    r = torch.tensor(rewards, dtype=torch.float64)
    if baseline == "leave-one-out":
        return (r - (r.sum() - r) / (len(rewards) - 1)).tolist()
    centred = r - r.mean()
    if std == "none":
        return centred.tolist()
    return (centred / (r.std(unbiased=std == "sample") + 1e-6)).tolist()


def aggregate(per_token: list[list[torch.Tensor]], tokens: str, over: str, normalizer: float | None) -> torch.Tensor:
    """per_token: [prompt][member] -> [T]."""
    if over == "batch":
        every = torch.cat([member for group in per_token for member in group])
        return every.sum() / every.numel()
    reduce = (lambda x: x.mean()) if tokens == "mean" else (lambda x: x.sum() / normalizer)
    return torch.stack([torch.stack([reduce(member) for member in group]).mean() for group in per_token]).mean()


def surrogate(current, old, advantage: float, ratio: str, low: float, high: float) -> torch.Tensor:
    log_ratio = current - old
    if ratio == "sequence":
        log_ratio = log_ratio.mean().expand_as(log_ratio)
    rho = log_ratio.exp()
    return torch.minimum(rho * advantage, rho.clamp(1 - low, 1 + high) * advantage)


def evaluate(groups: list[list[dict]], settings: dict) -> dict:
    """Advantages [prompt][member], loss, and d loss / d log pi [prompt][member][T]."""
    used = [[m for m in group if settings["withLabels"] or m["kind"] == "rollout"] for group in groups]
    baseline, gamma = settings.get("baseline", "mean"), settings.get("labelShaping")
    scaled = [advantages([m["reward"] for m in group], settings["std"], baseline) for group in used]
    column = lambda m, key: torch.tensor(m[key], dtype=torch.float64)  # noqa: E731
    current = [[column(m, "current").requires_grad_() for m in group] for group in used]
    clip, kl = settings["clip"], settings["kl"]
    per_token = []
    for group, own, values in zip(used, current, scaled):
        rows = []
        for member, log_probs, advantage in zip(group, own, values):
            if gamma is not None and member["kind"] == "label":
                row = -advantage * log_probs.exp() / (log_probs.exp() + gamma)
            else:
                row = -surrogate(
                    log_probs, column(member, "old"), advantage, settings["ratio"], clip["low"], clip["high"]
                )
            if kl["coefficient"] > 0 and (member["kind"] == "rollout" or kl["labels"]):
                d = column(member, "reference") - log_probs
                row = row + kl["coefficient"] * (d.exp() - d - 1)
            rows.append(row)
        per_token.append(rows)
    loss = aggregate(per_token, **settings["aggregate"])
    loss.backward()
    return {
        "settings": settings,
        "advantages": scaled,
        "loss": loss.item(),
        "coefficients": [[x.grad.tolist() for x in group] for group in current],
    }


FACTORS = {"uniform": torch.ones_like, "probability": lambda p: p, "uncertainty": lambda p: p * (1 - p)}


def evaluate_sft(groups: list[list[dict]], settings: dict) -> dict:
    labels = [torch.tensor(group[0]["current"], dtype=torch.float64, requires_grad=True) for group in groups]
    over = {key: value for key, value in settings.items() if key != "weighting"}
    factor = FACTORS[settings.get("weighting", "uniform")]
    loss = aggregate([[-label * factor(label.exp()).detach()] for label in labels], **over)
    loss.backward()
    return {"settings": settings, "loss": loss.item(), "coefficients": [label.grad.tolist() for label in labels]}


def evaluate_mixed(groups: list[list[dict]], settings: dict) -> dict:
    mu = settings["mu"]
    rl = evaluate(groups, settings["rl"])
    sft = evaluate_sft(groups, settings["sft"])
    return {
        "settings": settings,
        "loss": (1 - mu) * rl["loss"] + mu * sft["loss"],
        "coefficients": [
            [[mu * x for x in label]] + [[(1 - mu) * x for x in member] for member in group]
            for label, group in zip(sft["coefficients"], rl["coefficients"])
        ],
    }


def all_settings() -> list[dict]:
    aggregates = [
        {"tokens": "sum", "over": "sequence", "normalizer": 18},
        {"tokens": "mean", "over": "sequence", "normalizer": None},
        {"tokens": "mean", "over": "batch", "normalizer": None},
    ]
    base = {
        "withLabels": True,
        "std": "sample",
        "ratio": "token",
        "clip": {"low": 0.2, "high": 0.2},
        "kl": {"coefficient": 0, "labels": False},
        "aggregate": aggregates[0],
    }
    kls = [
        {"coefficient": 0, "labels": False},
        {"coefficient": 0.1, "labels": False},
        {"coefficient": 0.1, "labels": True},
    ]
    settings = [base | {"aggregate": a, "kl": k} for a, k in itertools.product(aggregates, kls)]
    settings += [base | {"withLabels": False, "aggregate": a} for a in aggregates]
    settings += [base | {"std": std} for std in ("population", "none")]
    settings += [base | {"clip": {"low": 0.1, "high": 0.28}}, base | {"clip": {"low": 0.05, "high": 0.05}}]
    # The response's ratio, GSPO: every token has the response's surrogate value, then tokens are aggregated as above.
    pairs = itertools.product(aggregates, kls[:2])
    settings += [base | {"ratio": "sequence", "aggregate": a, "kl": k} for a, k in pairs]
    settings += [base | {"std": "none", "baseline": "leave-one-out", "withLabels": labels} for labels in (True, False)]
    pairs = itertools.product(aggregates, (0.1, 0.5))
    settings += [base | {"labelShaping": gamma, "aggregate": a} for a, gamma in pairs]
    settings += [base | {"labelShaping": 0.1, "std": "none", "ratio": "sequence", "kl": kls[2]}]
    return settings


def mixed_settings() -> list[dict]:
    rl = all_settings()[0] | {"withLabels": False}
    means = [{"tokens": "mean", "over": over, "normalizer": None} for over in ("sequence", "batch")]
    pairs = itertools.product(means, FACTORS)
    return [{"mu": 0.3, "rl": rl | {"aggregate": a}, "sft": a | {"weighting": w}} for a, w in pairs]


def main() -> None:
    groups = make_groups()
    ratios = torch.tensor([c - o for g in groups for m in g for c, o in zip(m["current"], m["old"])]).exp()
    edges = torch.tensor([0.72, 0.8, 0.9, 0.95, 1.05, 1.1, 1.2, 1.28])
    assert (ratios[:, None] - edges).abs().min() > 1e-4, "a ratio lies on a clip's edge"
    content = {
        "groups": groups,
        "cases": [evaluate(groups, settings) for settings in all_settings()],
        "sft": [evaluate_sft(groups, s["aggregate"]) for s in all_settings()[:9:3]]
        + [evaluate_sft(groups, s["sft"]) for s in mixed_settings() if s["sft"]["weighting"] != "uniform"],
        "mixed": [evaluate_mixed(groups, settings) for settings in mixed_settings()],
    }
    FILE.parent.mkdir(exist_ok=True)
    rows = lambda items: ",\n".join("  " + json.dumps(item) for item in items)  # noqa: E731
    body = ",\n".join(f' "{key}": [\n{rows(items)}\n ]' for key, items in content.items())
    FILE.write_text("{\n" + body + "\n}\n")


if __name__ == "__main__":
    main()
