/** The loss of one update of each stage. */
import {
  boxLoss,
  existsLoss,
  findLoss,
  inReadingOrder,
  indices,
  picturePrompt,
  Random,
  scaled,
  see,
  speechLoss,
  type Vocabulary,
} from '@visurf/mini-grounding/kit';
import type { Spoken, UpdateLoss } from '@visurf/mini-grounding/kit';
import type { ImageSettings, VisionLanguageModel, States } from '@visurf/core/internals';
import type { Prompt } from '@visurf/core';
import { keep, type Tensor } from '@visurf/torch';

import { spell, type Group, type Token } from '../lessons/lesson.ts';
import type { Heads } from './heads.ts';
import type { PretrainPlan, PretrainStage } from './plan.ts';
import type { Room, Shown } from './rooms.ts';
import { patchTargets, tokensShowing, tokenTargets } from './targets.ts';

/** Image tokens' losses count more than patches': they are means over many easy cells. */
const TOKEN_WEIGHT = 3;
const EXISTS_WEIGHT = 3;
/** The pointer reads the stream after the first layers, so that later ones can use what was found. */
const POINTER_LAYERS = 2;
/** Lessons whose coordinates' expected distance is a loss. */
const MEASURED: readonly Group[] = ['refer', 'relate', 'click', 'lesion'];

export interface Parts {
  readonly model: VisionLanguageModel;
  readonly heads: Heads;
  readonly settings: ImageSettings;
  readonly vocabulary: Vocabulary;
  readonly plan: PretrainPlan;
  /** By the names that the plan shares its pictures out to. */
  readonly rooms: Readonly<Record<string, Room>>;
}

/** Pictures of one room, as prompts. */
interface Class {
  readonly room: string;
  readonly shown: readonly Shown[];
  readonly prompts: readonly Prompt[];
}

interface Drawn {
  readonly classes: readonly Class[];
  readonly random: Random;
}

const progressOf = (stage: PretrainStage, update: number): number => update / stage.updates;

function roomOf({ rooms }: Parts, name: string): Room {
  const room = rooms[name];
  if (!room) throw new RangeError(`there are no pictures of ${name}`);
  return room;
}

/** The pictures of an update depend on nothing but its number. */
export async function drawPictures(parts: Parts, stage: PretrainStage, update: number): Promise<Drawn> {
  const { plan, settings, vocabulary } = parts;
  const random = new Random(`pretrain/${plan.seed}/${stage.name}/${update}`);
  const late = progressOf(stage, update) >= plan.late;
  const options = { ...plan.lessons, jitter: 0, imagine: late };
  const classes: Class[] = [];
  for (const [room, share] of Object.entries(plan.rooms)) {
    const shown: Shown[] = [];
    for (let i = Math.max(1, Math.round(share * stage.images)); i > 0; i--)
      shown.push(await roomOf(parts, room).draw(random, options));
    classes.push({ room, shown, prompts: shown.map(({ pixels }) => picturePrompt(pixels, settings, vocabulary)) });
  }
  return { classes, random };
}

/** What the pictures of a room show, seen by patches and by image tokens. */
function sightLoss(parts: Parts, { room, shown }: Class, patches: Tensor, tokens: Tensor): Tensor {
  const { model, heads } = parts;
  const { families } = roomOf(parts, room);
  const words = families.flat();
  const things = shown.map((each) => each.things);
  const patch = heads.patchLoss(patches, patchTargets(things, families), families);
  const normed = model.model.norm.forward(tokens);
  return patch.add(heads.tokenLoss(normed, model.headWeight, tokenTargets(things, words), words).mul(TOKEN_WEIGHT));
}

export function seeLoss(parts: Parts, { classes }: Drawn): UpdateLoss {
  const losses = classes.map((each) => {
    const { patches, tokens } = see(parts.model, each.prompts);
    const share = parts.plan.rooms[each.room] ?? 0;
    return { room: each.room, share, loss: sightLoss(parts, each, patches, tokens) };
  });
  const loss = sumOf(losses.map((each) => each.loss.mul(each.share)));
  if (!loss) throw new Error('there are no pictures');
  return { loss, report: Object.fromEntries(losses.map((each) => [each.room, each.loss.item()])) };
}

/** A token to be said, of which picture, and its place among all tokens of the room's lessons. */
interface Said extends Spoken<Group> {
  readonly token: Token;
  readonly picture: number;
  readonly index: number;
}

/** The lessons of a room's pictures as token ids, and what is to be said of them. */
function spellAll({ vocabulary, plan }: Parts, { shown }: Class, late: boolean, random: Random) {
  const said: Said[] = [];
  let start = 0;
  const responses = shown.map(({ lessons }, picture) =>
    lessons.map((lesson) => {
      const spelled = spell(lesson, vocabulary, late ? plan.jitter.late : plan.jitter.early, random);
      spelled.answer.forEach((token, t) => {
        const pixel = typeof token.says === 'number' ? token.says : undefined;
        const measured = MEASURED.includes(token.group);
        const index = start + spelled.questionLength + t;
        said.push({ token, picture, index, target: token.id, group: token.group, pixel, measured });
      });
      start += spelled.read.length;
      return spelled.read;
    }),
  );
  return { said, responses };
}

/** The auxiliary losses of the second stage, before their weights. */
interface Watched {
  readonly sight: Tensor;
  readonly box: Tensor | undefined;
  readonly pointer: Tensor | undefined;
}

const sumOf = (all: readonly Tensor[]): Tensor | undefined =>
  all.length === 0 ? undefined : all.reduce((sum, each) => sum.add(each));

function watch(
  parts: Parts,
  { layers, packed, patches, features }: States,
  said: readonly Said[],
  each: Class,
): Watched {
  const { model, heads } = parts;
  if (!patches || !features) throw new Error('the prompts have no images');
  const rows = (layer: Tensor, chosen: readonly Said[]): Tensor =>
    layer.view(-1, layer.size(-1)).indexSelect(0, indices(chosen.map(({ index }) => packed.predictors[index] ?? 0)));
  const watching = (kind: 'find' | 'exists'): Said[] => said.filter(({ token }) => token.watch?.kind === kind);
  const [finding, asking] = [watching('find'), watching('exists')];

  const tokens = features.view(each.shown.length, -1, features.size(1));
  const seen = (chosen: readonly Said[]): Tensor =>
    tokens.indexSelect(0, indices(chosen.map(({ picture }) => picture)));
  const targets = (chosen: readonly Said[]): number[] =>
    chosen.flatMap(({ token }) => tokensShowing(token.watch?.boxes ?? []));
  const pointers = layers
    .slice(0, POINTER_LAYERS)
    .flatMap((layer) => [
      ...(finding.length > 0 ? [findLoss(heads, rows(layer, finding), seen(finding), targets(finding))] : []),
      ...(asking.length > 0
        ? [existsLoss(heads, rows(layer, asking), seen(asking), targets(asking)).mul(EXISTS_WEIGHT)]
        : []),
    ]);
  const boxes = finding.flatMap(({ token }) => (token.watch?.boxes[0] ?? []).map(scaled));
  const last = layers.at(-1);
  if (!last) throw new Error('the decoder has no layers');
  return {
    sight: sightLoss(parts, each, inReadingOrder(model, patches), features),
    box: finding.length > 0 ? boxLoss(heads, model.model.norm.forward(rows(last, finding)), boxes) : undefined,
    pointer: sumOf(pointers)?.div(POINTER_LAYERS),
  };
}

interface RoomLoss {
  readonly loss: Tensor;
  readonly report: Readonly<Record<string, number>>;
}

function roomLoss(parts: Parts, each: Class, share: number, progress: number, random: Random): RoomLoss {
  const { model, plan, vocabulary } = parts;
  const late = progress >= plan.late;
  const { said, responses } = spellAll(parts, each, late, random);
  const items = each.prompts.map((prompt, i) => ({ prompt, responses: responses[i] ?? [] }));
  const all: Watched[] = [];
  const { hidden } = model.hidden(items, (states) => {
    const { sight, box, pointer } = watch(parts, states, said, each);
    all.push({ sight: keep(sight), box: box && keep(box), pointer: pointer && keep(pointer) });
  });
  const [watched] = all;
  if (!watched) throw new Error('nothing was watched');

  const { groups, distance, ...weights } = plan.weights;
  const logits = model.logits(hidden.indexSelect(0, indices(said.map(({ index }) => index))));
  const sharpness = late ? { blur: plan.blur.late, distance } : { blur: plan.blur.early, distance: 0 };
  const speech = speechLoss(logits, said, groups, vocabulary.numberIds, sharpness);
  const fading = 1 - progress;
  const { sight, box, pointer } = watched;
  let loss = speech.loss.add(sight.mul(weights.sight * share * Math.max(0.2, fading)));
  if (box) loss = loss.add(box.mul(weights.box * share * fading));
  if (pointer) loss = loss.add(pointer.mul(weights.pointer * share * fading));
  const report = {
    ...shares(each.room, logits, said),
    [`${each.room}:px`]: speech.distance.item(),
    [`${each.room}:ptr`]: pointer?.item() ?? 0,
  };
  // The graph holds what the losses need.
  for (const kept of [sight, box, pointer]) kept?.dispose();
  return { loss, report };
}

/** The share of its tokens that are the likeliest ones, by `ROOM:GROUP`. */
function shares(room: string, logits: Tensor, said: readonly Said[]): Record<string, number> {
  const likeliest = logits.detach().argmax(-1).toArray();
  const right = new Map<string, boolean[]>();
  said.forEach(({ group, target }, row) => {
    if (group === 'form') return;
    const key = `${room}:${group}`;
    right.set(key, [...(right.get(key) ?? []), likeliest[row] === target]);
  });
  return Object.fromEntries([...right].map(([key, list]) => [key, list.filter(Boolean).length / list.length]));
}

export function readLoss(parts: Parts, stage: PretrainStage, update: number, { classes, random }: Drawn): UpdateLoss {
  const losses = classes.map((each) =>
    roomLoss(parts, each, parts.plan.rooms[each.room] ?? 0, progressOf(stage, update), random),
  );
  const loss = sumOf(losses.map((each) => each.loss));
  if (!loss) throw new Error('there are no pictures');
  return { loss, report: Object.assign({}, ...losses.map(({ report }) => report)) as Record<string, number> };
}
