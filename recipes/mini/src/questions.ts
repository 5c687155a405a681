/** The questions of every set as they stand in a dataset: pictures of a split, with what is asked about them. */
import {
  drawAbsent,
  Random,
  render as renderFigure,
  type Corners,
  type Kind,
  type Scene,
} from '@visurf/mini-grounding/kit';

import { countOf, directionWords, drawFigure, drawSum, relations } from './pictures/figures.ts';
import * as parts from './pictures/parts.ts';
import type { Pixels, Split } from './pictures/picture.ts';
import * as screens from './pictures/screens.ts';
import * as signs from './pictures/signs.ts';
import * as skins from './pictures/skin.ts';

/** What post-training learns from: each a small sister of a benchmark. */
export const TASK_SETS = ['referring', 'relational', 'clicking', 'defects', 'lesions', 'sums'] as const;
/** Skills that only the base model was taught: what is forgotten shows here. */
export const SKILL_SETS = ['color', 'shape', 'counting', 'reading'] as const;
export type SetName = (typeof TASK_SETS)[number] | (typeof SKILL_SETS)[number];

export interface DrawnQuestion {
  readonly task: 'grounding' | 'click' | 'anomaly' | 'box' | 'math' | 'answer';
  /** Template of the user turn: what the miniatures were taught to read. */
  readonly prompt: string;
  readonly problem: string;
  readonly solution: unknown;
  /** Where a set has two kinds of questions. */
  readonly kind?: 'present' | 'absent' | 'good' | 'defective';
}

export interface Asked {
  readonly pixels: Pixels;
  readonly questions: readonly DrawnQuestion[];
}

type Draw = (split: Split, random: Random) => Asked | Promise<Asked>;

const boxes = (...list: readonly Corners[]) => list.map((box) => ({ bbox_2d: box }));
const named = ({ color, shape }: Kind): string => `${color} ${shape}`;

/** A figure with one question about it. */
const ofFigure =
  (ask: (scene: Scene, random: Random) => DrawnQuestion | undefined): Draw =>
  (split, random) => {
    for (;;) {
      const scene = drawFigure(split, random);
      const question = ask(scene, random);
      if (question) return { pixels: renderFigure(scene, random), questions: [question] };
    }
  };

const skill = (prompt: string, problem: string, solution: string): DrawnQuestion => ({
  task: 'answer',
  prompt,
  problem,
  solution,
});

/** The colour of the only object of a shape, or the other way round; undefined where there is no such object. */
function nameOf(asked: 'color' | 'shape', scene: Scene, random: Random): DrawnQuestion | undefined {
  const by = asked === 'color' ? 'shape' : 'color';
  const alone = scene.filter((object) => scene.filter((other) => other[by] === object[by]).length === 1);
  if (alone.length === 0) return undefined;
  const object = random.pick(alone);
  return skill(`${asked} of {Question}`, object[by], object[asked]);
}

const SETS: Readonly<Record<SetName, Draw>> = {
  /** Two questions: something matches one of them, nothing the other. */
  referring(split, random) {
    const scene = drawFigure(split, random);
    const object = random.pick(scene);
    const absent = drawAbsent(scene, random);
    const common = { task: 'grounding', prompt: 'find {Question}' } as const;
    return {
      pixels: renderFigure(scene, random),
      questions: [
        { ...common, problem: named(object), solution: boxes(object.box), kind: 'present' },
        { ...common, problem: named(absent), solution: [], kind: 'absent' },
      ],
    };
  },
  relational: ofFigure((scene, random) => {
    const { direction, anchor, target } = random.pick(relations(scene));
    const problem = [...directionWords(direction), named(anchor)].join(' ');
    return { task: 'grounding', prompt: 'find {Question}', problem, solution: boxes(target.box) };
  }),
  async clicking(split, random) {
    const screen = screens.drawScreen(split, random);
    const { label, kind, box } = random.pick(screen.controls);
    const question = { task: 'click', prompt: 'click {Question}', problem: `${label} ${kind}` } as const;
    return { pixels: await screens.render(screen), questions: [{ ...question, solution: boxes(box) }] };
  },
  defects(split, random) {
    const kind = random.uniform() < 0.5 ? 'defective' : 'good';
    const part = parts.drawPart(split, kind === 'defective', random);
    const question = { task: 'anomaly', prompt: 'inspect {Question}', problem: part.material, kind } as const;
    const solution = kind === 'defective' ? 'yes' : 'no';
    return { pixels: parts.render(part, random), questions: [{ ...question, solution }] };
  },
  lesions(split, random) {
    const skin = skins.drawSkin(split, random);
    const question = { task: 'box', prompt: 'find {Question}', problem: 'lesion' } as const;
    return { pixels: skins.render(skin, random), questions: [{ ...question, solution: boxes(skin.box) }] };
  },
  sums: ofFigure((scene, random) => {
    const { factors, shapes, result } = drawSum(scene, random);
    const problem = `${factors[0]} ${shapes[0]} plus ${factors[1]} ${shapes[1]}`;
    return { task: 'math', prompt: 'compute {Question}', problem, solution: String(result) };
  }),
  color: ofFigure((scene, random) => nameOf('color', scene, random)),
  shape: ofFigure((scene, random) => nameOf('shape', scene, random)),
  counting: ofFigure((scene, random) => {
    const { shape } = random.pick(scene);
    return skill('count {Question}', shape, String(countOf(scene, shape)));
  }),
  reading(split, random) {
    const sign = signs.drawSign(split, random);
    return { pixels: signs.render(sign, random), questions: [skill('{Question}', 'read', String(sign.digit))] };
  },
};

/** A picture of a set with its questions; the same seed and number give the same. */
export function drawQuestions(set: SetName, split: Split, seed: number, number: number): Asked | Promise<Asked> {
  return SETS[set](split, new Random(`mini/${set}/${split}/${seed}/${number}`));
}
