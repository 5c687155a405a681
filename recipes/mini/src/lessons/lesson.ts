/** Questions with answers as a base model is taught them, token by token, with where each token is to be found. */
import { SIDE, type Corners, type Random, type Vocabulary } from '@visurf/mini-grounding/kit';

/** Lessons whose losses are averaged together; `form` is what surrounds a short answer. */
export const GROUPS = [
  ...['refer', 'imagine', 'relate', 'click', 'lesion', 'sum'],
  ...['inspect', 'exists', 'defect', 'skill', 'form'],
] as const satisfies readonly string[];
export type Group = (typeof GROUPS)[number];

/** What the state that predicts a token should look at. */
export interface Watch {
  /** One of several things in the picture, or all that there are, which may be none. */
  readonly kind: 'find' | 'exists';
  readonly boxes: readonly Corners[];
}

export interface Token {
  /** A word, or a coordinate in pixels. */
  readonly says: string | number;
  readonly group: Group;
  readonly watch: Watch | undefined;
}

export interface Lesson {
  /** Words of the user turn. */
  readonly question: readonly string[];
  /** The answer, stop token included. */
  readonly answer: readonly Token[];
}

export interface LessonOptions {
  /** Shares of answers with a careful thought and without any; the others have a lazy one. */
  readonly careful: number;
  readonly direct: number;
  /** Pixels by which an answer given fast is off: a box is larger on every side, a click is below the centre. */
  readonly hasty: { readonly box: number; readonly lesion: number; readonly click: number };
  /** Standard deviation of the error of coordinates that are read, in pixels. */
  readonly jitter: number;
  /** Whether absent objects are asked for, and answered with something alike. */
  readonly imagine: boolean;
  /** Whether it is asked what exists; unset: it is. Without, presence cannot be read from the hidden state. */
  readonly presence?: boolean;
  /** Whether sums are asked for, whose results need numbers of their own beside coordinates; unset: they are. */
  readonly sums?: boolean;
}

export type Manner = 'careful' | 'lazy' | 'direct';

export function drawManner(random: Random, { careful, direct }: LessonOptions): Manner {
  const share = random.uniform();
  return share < careful ? 'careful' : share < 1 - direct ? 'lazy' : 'direct';
}

/** Either manner without care, as often as each other. */
export const drawHasty = (random: Random): Manner => (random.uniform() < 0.5 ? 'lazy' : 'direct');

type Part = string | number;

export const say = (group: Group, parts: readonly Part[], watch?: Watch): Token[] =>
  parts.map((says) => ({ says, group, watch: typeof says === 'number' ? watch : undefined }));

export const found = (...boxes: readonly Corners[]): Watch => ({ kind: 'find', boxes });

/** A thought, or none; `careful` is what a careful one says. */
export function thought(group: Group, manner: Manner, careful: readonly Token[]): Token[] {
  if (manner === 'direct') return [];
  const inner = manner === 'careful' ? careful : say(group, [' look']);
  return [...say(group, ['<think>']), ...inner, ...say(group, ['</think>'])];
}

/** The first token of an answer, and the one after `[`, are watched as well: the picture is looked at there. */
export function watchStart(answer: readonly Token[], watch: Watch): Token[] {
  return answer.map((token, i) => (i === 0 || answer[i - 1]?.says === '[' ? { ...token, watch } : token));
}

/** `<answer>WORD</answer>`, which is all that counts of it. */
export function shortAnswer(
  group: Group,
  manner: Manner,
  [open, word, close]: readonly [string, string, string],
): Token[] {
  return [
    ...thought('form', manner, []),
    ...say('form', [open]),
    ...say(group, [word]),
    ...say('form', [close, '<|im_end|>']),
  ];
}

/** Ends the user turn and opens the answer's. */
const TURN = ['<|im_end|>', '<|im_start|>', 'assistant'];

/** A lesson as token ids. */
export interface Spelled {
  /** Question and answer as the model reads them: coordinates are off by a little, so that it looks rather than copies. */
  readonly read: readonly number[];
  readonly questionLength: number;
  readonly answer: readonly (Token & { readonly id: number })[];
}

export function spell({ question, answer }: Lesson, vocabulary: Vocabulary, jitter: number, random: Random): Spelled {
  const numberId = (pixel: number): number => {
    const id = vocabulary.numberIds[pixel];
    if (id === undefined) throw new RangeError(`${pixel} is not a coordinate`);
    return id;
  };
  const idOf = (says: Part): number => (typeof says === 'number' ? numberId(says) : vocabulary.idOf(says));
  const shaken = (says: Part): Part =>
    typeof says === 'number' ? Math.min(SIDE, Math.max(0, Math.round(says + jitter * random.normal()))) : says;
  const asked = [...question, ...TURN].map(idOf);
  return {
    read: [...asked, ...answer.map(({ says }) => idOf(shaken(says)))],
    questionLength: asked.length,
    answer: answer.map((token) => ({ ...token, id: idOf(token.says) })),
  };
}
