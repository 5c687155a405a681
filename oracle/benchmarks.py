"""What the reference libraries compute on 1,000 random cases: run lengths and polygons (pycocotools, OpenCV), area under the
curve, F1 and Jaccard (scikit-learn), edit distances and BLEU (nltk). Masks are stored as COCO's counts.
"""

import json
import random
import warnings
from pathlib import Path

import cv2
import numpy as np
from nltk.metrics.distance import edit_distance
from nltk.translate.bleu_score import sentence_bleu
from pycocotools import mask as coco
from sklearn.metrics import jaccard_score, precision_recall_fscore_support, roc_auc_score

HERE = Path(__file__).parent
rng = random.Random(20)


def counts(mask):
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


def size(most=24):
    return rng.randint(2, most), rng.randint(2, most)


def blob(h, w):
    """Noise, or a few rectangles."""
    mask = np.zeros((h, w), np.uint8)
    if rng.random() < 0.3:
        return np.array([[rng.random() < 0.5 for _ in range(w)] for _ in range(h)], np.uint8)
    for _ in range(rng.randint(0, 4)):
        y, x = rng.randrange(h), rng.randrange(w)
        mask[y : y + rng.randint(1, h), x : x + rng.randint(1, w)] ^= 1
    return mask


def raw(mask):
    runs, inside = [0], 0
    for value in mask.T.reshape(-1):
        if value != inside:
            inside = value
            runs.append(0)
        runs[-1] += 1
    return runs


def run_lengths():
    for i in range(200):
        h, w = (rng.randint(100, 2000), 1) if i % 10 == 0 else size()
        mask = blob(h, w)
        yield [h, w, raw(mask), counts(mask)]


def overlaps():
    for _ in range(100):
        h, w = size(16)
        a, b = blob(h, w), blob(h, w)
        union = (a | b).any()
        yield [h, w, counts(a), counts(b), round(jaccard_score(b.reshape(-1), a.reshape(-1)), 12) if union else None]


def coco_polygons():
    for i in range(250):
        h, w = size(40)
        digits = rng.choice([0, 1, 2])
        corners = [(rng.uniform(-3, w + 3), rng.uniform(-3, h + 3)) for _ in range(rng.randint(3, 9))]
        flat = [round(value, digits) for corner in corners for value in corner]
        if i % 8 == 0:
            flat += flat[:2]
        flat = [max(0, value) for value in flat]
        yield [h, w, flat, coco.merge(coco.frPyObjects([flat], h, w))["counts"].decode()]


def cv2_polygons():
    for i in range(200):
        h, w = size(40)
        beyond = 4 if i % 4 == 0 else 0
        corner = lambda most: round(rng.uniform(-beyond, most - 1 + beyond), 1)
        points = [[corner(w), corner(h)] for _ in range(rng.randint(3, 9))]
        mask = np.zeros((h, w), np.uint8)
        whole = np.array([points], dtype=np.float64).astype(np.int32)
        cv2.polylines(mask, whole, True, 1, 1)
        cv2.fillPoly(mask, whole, 1)
        yield [h, w, points, counts(mask)]


def areas():
    for _ in range(100):
        n = rng.randint(2, 30)
        truth = [0, 1] + [rng.randint(0, 1) for _ in range(n - 2)]
        scores = [round(rng.random(), rng.choice([0, 1, 3])) for _ in truth]
        yield [truth, scores, roc_auc_score(truth, scores)]


def verdicts():
    for _ in range(50):
        truth = [rng.randint(0, 1) for _ in range(rng.randint(1, 20))]
        said = [rng.randint(0, 1) for _ in truth]
        precision, recall, f1, _ = precision_recall_fscore_support(truth, said, average="binary", zero_division=0)
        yield [truth, said, float(precision), float(recall), float(f1)]


def word(letters="abcd ", most=12):
    return "".join(rng.choice(letters) for _ in range(rng.randint(0, most)))


def edited(text):
    letters = list(text)
    for _ in range(rng.randint(0, 3)):
        place = rng.randint(0, len(letters))
        letters[place : place + rng.randint(0, 1)] = rng.choice(["", "x", "Yz", " "])
    return "".join(letters)


def similarities():
    """ANLS as lmms-eval has it, on nltk's edit distance."""
    for _ in range(100):
        references = [word() for _ in range(rng.randint(1, 3))]
        said = edited(rng.choice(references))
        clean = [" ".join(text.strip().lower().split()) for text in [said, *references]]
        distances = []
        for reference, text in zip(references, clean[1:]):
            length = max(len(said), len(reference))
            distances.append(0.0 if length == 0 else edit_distance(clean[0], text) / length)
        score = 1 - min(distances)
        yield [said, references, 0 if score < 0.5 else score]


def sentences():
    for _ in range(100):
        gold = word("abc ", 9) + "a"
        said = edited(gold)
        yield [gold, said, sentence_bleu([list(gold)], list(said), weights=(0.5, 0.5)) if said else 0.0]


def main():
    warnings.simplefilter("ignore")
    kinds = [run_lengths, overlaps, coco_polygons, cv2_polygons, areas, verdicts, similarities, sentences]
    lines = []
    total = 0
    for kind in kinds:
        cases = list(kind())
        total += len(cases)
        rows = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
        lines.append(f'"{kind.__name__}": [\n{rows}\n]')
    (HERE / "fixtures" / "benchmarks.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(total, "cases")


if __name__ == "__main__":
    main()
