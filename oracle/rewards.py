"""Random answers, and what the published rewards give for them: `fixtures/rewards.json`.

The functions are those of Seg-Zero (its VisionReasoner and its own), VLM-R1, and mathruler as Seg-Zero and EasyR1 call it.
The first two are read from checkouts in `.tools/references`, which are cloned where they are missing.
"""

import ast
import json
import random
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import PIL.Image

HERE = Path(__file__).parent
REFERENCES = HERE.parent / ".tools" / "references"
SOURCES = {
    "Seg-Zero": ("https://github.com/dvlab-research/Seg-Zero", "42a3345"),
    "VLM-R1": ("https://github.com/om-ai-lab/VLM-R1", "90052f4"),
}
N = 400
SIDE = 840
rng = random.Random(21)


def source(repository, path):
    url, commit = SOURCES[repository]
    folder = REFERENCES / repository
    if not folder.exists():
        subprocess.run(["git", "clone", "--quiet", url, str(folder)], check=True)
        subprocess.run(["git", "-C", str(folder), "checkout", "--quiet", commit], check=True)
    return (folder / path).read_text()


def functions(text, within=None):
    """The functions of a module, or of a class of it, without what they are imported with."""
    body = ast.parse(text).body
    if within:
        body = next(node for node in body if isinstance(node, ast.ClassDef) and node.name == within).body
    kept = [
        node
        for node in body
        if isinstance(node, (ast.Import, ast.ImportFrom) if within is None else ()) or isinstance(node, ast.FunctionDef)
    ]
    for node in kept:
        if isinstance(node, ast.FunctionDef):
            node.decorator_list, node.returns = [], None
            for argument in node.args.args:
                argument.annotation = None
    scope = {"Image": PIL.Image}
    exec(compile(ast.Module(kept, []), "reference", "exec"), scope)
    return SimpleNamespace(**scope)


def seg_zero(name):
    return functions(source("Seg-Zero", f"verl/utils/reward_score/{name}.py"))


def box(side=SIDE):
    x, y = rng.randint(0, side - 40), rng.randint(0, side - 40)
    return [x, y, rng.randint(x + 4, side), rng.randint(y + 4, side)]


def inside(corners):
    x0, y0, x1, y1 = corners
    return [rng.randint(x0, x1), rng.randint(y0, y1)]


def moved(numbers, by):
    """Rounded, or with decimals."""
    values = [value + rng.uniform(-by, by) for value in numbers]
    return [round(value, rng.choice([1, 2])) for value in values] if rng.random() < 0.1 else [round(v) for v in values]


def spoiled(text):
    """What answers look like that are not as they should be."""
    kinds = [
        lambda: text.replace("{", "(", 1),
        lambda: text.replace('"', "'"),
        lambda: f"```json\n{text}\n```",
        lambda: f"{text}\n\n",
        lambda: f"\u00a0{text}\u2003",
        lambda: text[: rng.randint(0, len(text))],
        lambda: text.replace("[", "[[", 1).replace("]", "]]", 1),
        lambda: re.sub(r"\d+", "null", text, count=1),
        lambda: re.sub(r"\d+", '"7"', text, count=1),
        lambda: re.sub(r"\d+", rng.choice(["NaN", "Infinity", "-Infinity", "1e3", "true"]), text, count=1),
        lambda: re.sub(r"\d+", lambda found: f"{found[0]}, {found[0]}", text, count=1),
        lambda: re.sub(r", *\d+", "", text, count=1),
        lambda: text.replace("point", "dot", 1),
        lambda: text.replace("bbox", "box", 1),
        lambda: text[:-1] + rng.choice([", 5]", ', "bbox_2d"]', ", []]", ", null]", ", {}]", ', "a"]']),
        lambda: "".join(["[", text, "]"]),
        lambda: rng.choice(["", "{}", "null", "3", '"none"', "[]", "nothing", "[{}]", "[1]", '["bbox_2d"]']),
    ]
    return rng.choice(kinds)()


SENTENCES = ["Look at the left.", "It is the 3.5 m one.", "There are two.", "No.", " Look at the left.", "Hm."]


def response(answer):
    """With a thought, and with what may be wrong around it."""
    thought = " ".join(rng.choice(SENTENCES) for _ in range(rng.randint(1, 4)))
    between = rng.choice(["", "", "\n", " ", "\u00a0\n", "so"])
    text = f"<think>{thought}</think>{between}<answer>{answer}</answer>"
    mess = rng.random()
    if mess < 0.75:
        return text
    kinds = [
        lambda: f"<answer>{answer}</answer>",
        lambda: f"{text}\n",
        lambda: f" {text}",
        lambda: f"{text}<answer>[]</answer>",
        lambda: text.replace("</answer>", ""),
        lambda: text.replace("<answer>", ""),
        lambda: text.replace("</think>", "</think></think>"),
        lambda: text.replace("<think>", "<think><think>"),
        lambda: f"<think>{thought}<answer>{answer}</answer></think><answer>[]</answer>",
        lambda: answer,
    ]
    return rng.choice(kinds)()


def vision_reasoner():
    reference = seg_zero("vision_reasoner")
    for _ in range(N):
        truth = [(corners, inside(corners)) for corners in (box() for _ in range(rng.choice([0, 1, 1, 1, 2, 3, 5])))]
        write = lambda objects: [{"bbox_2d": corners, "point_2d": point} for corners, point in objects]
        by = rng.choice([0, 4, 10, 20, 60, 300])
        said = [(moved(corners, by), moved(point, by)) for corners, point in truth if rng.random() < 0.9]
        said += [(corners, inside(corners)) for corners in (box() for _ in range(rng.choice([0, 0, 0, 1, 3])))]
        rng.shuffle(said)
        answer = json.dumps(write(said), separators=rng.choice([(", ", ": "), (",", ":")]))
        text = response(spoiled(answer) if rng.random() < 0.35 else answer)
        solution = json.dumps(write(truth))
        yield [
            text,
            solution,
            reference.vision_reasoner_format_reward(text),
            float(reference.vision_reasoner_accuracy_reward(text, solution)),
            float(reference.vision_reasoner_non_repeat_reward(text)),
        ]


def seg_zero_strict():
    reference = seg_zero("seg_restrict")
    for _ in range(N):
        corners = box()
        points = [inside(corners), inside(corners)]
        tagged = lambda pairs: ",".join(f"({x},{y})" for x, y in pairs)
        solution = f"<box>{tagged([corners[:2], corners[2:]])}</box><points>{tagged(points)}</points>"
        by = rng.choice([0, 4, 10, 20, 60, 300])
        said = {"bbox": moved(corners, by), "points_1": moved(points[0], 2 * by), "points_2": moved(points[1], 2 * by)}
        if rng.random() < 0.2:
            said = dict(reversed(said.items()))
        answer = json.dumps(said, separators=rng.choice([(", ", ": "), (",", ":")]))
        answer = f"[{answer}]" if rng.random() < 0.05 else answer
        text = response(spoiled(answer) if rng.random() < 0.35 else answer)
        yield [
            text,
            solution,
            reference.seg_thinking_format_reward(text),
            reference.seg_segmentation_format_reward(text),
            reference.seg_iou_reward(text, solution)
            + reference.seg_point_l1_reward(text, solution)
            + reference.seg_box_l1_reward(text, solution),
        ]


def vlm_r1():
    path = "src/open-r1-multimodal/src/open_r1/vlm_modules/qwen_module.py"
    reference = functions(source("VLM-R1", path), within="Qwen2VLModule")
    for _ in range(N):
        width, height = rng.randint(200, 2000), rng.randint(200, 2000)
        grid = [1, max(2, 2 * round(height / 28)), max(2, 2 * round(width / 28))]
        model = [grid[2] * 14, grid[1] * 14]
        truth = box(min(width, height))
        scaled = [value * model[i % 2] / [width, height][i % 2] for i, value in enumerate(truth)]
        said = moved(scaled, rng.choice([0, 2, 10, 60, 300]))
        if rng.random() < 0.1:
            said = said[2:] + said[:2]
        gap = rng.choice(["", " ", "  "])
        numbers = f",{gap}".join(map(str, said))
        answer = rng.choice(
            [
                f'{{"bbox_2d": [{numbers}]}}',
                f'```json\n[\n\t{{"bbox_2d": [{numbers}], "label": "car"}}\n]\n```',
                f'{{"bbox_2d": [{numbers}]}}',
                f"[{numbers}]",
                f'[{{"bbox_2d": [{numbers}]}}, {{"bbox_2d": [1, 2, 3, 4]}}]',
            ]
        )
        text = response(spoiled(answer) if rng.random() < 0.2 else answer)
        completion = [[{"content": text}]]
        PIL.Image.open = lambda _: SimpleNamespace(size=(width, height))
        solution = f"<answer> {json.dumps(truth)} </answer>"
        (accuracy,) = reference.iou_reward(completion, [solution], image_grid_thw=[grid], image_path=[["a"]])
        yield [text, truth, [width, height, *model], reference.format_reward_rec(completion)[0], accuracy]


def pairs():
    """Spellings of mathematical answers, most of them of the true one."""
    families = json.loads((HERE / "fixtures" / "mathematics.json").read_text())
    known = [(truth, said) for cases in families.values() for truth, said, _ in cases]
    while True:
        truth, said = rng.choice(known)
        yield truth, said


def mathruler():
    reference = seg_zero("math")
    spellings = pairs()
    for _ in range(N):
        truth, said = next(spellings)
        text = rng.choice(
            [
                f"<think>{rng.choice(SENTENCES)}</think>\\boxed{{{said}}}",
                f"<think>\\boxed{{1}}</think> \\boxed{{{said}}}",
                f"It is $\\boxed{{ {said} }}$.",
                f"\\boxed{{{said}}}\n",
            ]
        )
        if rng.random() < 0.1:
            text = rng.choice([text.replace("}", "", 1), said, "\\boxed{", f"{text}\\boxed{{", "\\boxed{}"])
        yield [text, truth, reference.math_compute_score(text, truth)]


def r1v():
    reference = seg_zero("r1v")
    spellings = pairs()
    for _ in range(N):
        truth, said = next(spellings)
        text = response(rng.choice([said, said, f" {said} ", f"\n{said}\n"]))
        yield [text, truth, reference.r1v_compute_score(text, truth)]


def main():
    kinds = {
        "visionreasoner": vision_reasoner,
        "seg-zero": seg_zero_strict,
        "vlm-r1": vlm_r1,
        "mathruler": mathruler,
        "r1v": r1v,
    }
    lines = []
    for name, kind in kinds.items():
        cases = list(kind())
        rows = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
        lines.append(f'"{name}": [\n{rows}\n]')
        print(name, len(cases), len(rows))
    (HERE / "fixtures" / "rewards.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
