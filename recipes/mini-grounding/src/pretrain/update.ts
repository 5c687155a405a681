/** The loss of one update of each stage. */
import type { Prompt } from '@visurf/core';
import type { ImageSettings, VisionLanguageModel, States } from '@visurf/core/internals';
import { keep, type Tensor } from '@visurf/torch';

import { Random } from '../random.ts';
import { drawScene, render, SIDE, type Scene } from '../scenes.ts';
import { NUMBER_IDS } from '../vocabulary.ts';
import { indices, inReadingOrder, picturePrompt, see, type Sight } from './forward.ts';
import type { Heads } from './heads.ts';
import { boxLoss, existsLoss, findLoss } from './readers.ts';
import { drawLessons } from './lessons.ts';
import type { PretrainPlan, Stage } from './plan.ts';
import type { UpdateLoss } from './pretraining.ts';
import { existsAccuracy, saidTokens, speechLoss, type Said } from './speech.ts';
import { patchTargets, scaled, tokensOf, tokenTargets, TOKEN_CELLS } from './targets.ts';

/** Image tokens' losses count more than patches': they are means over many easy cells. */
const TOKEN_WEIGHT = 3;
const EXISTS_WEIGHT = 3;
/** The pointer reads the stream after the first layers, so that later ones can use what was found. */
const POINTER_LAYERS = 2;
const NOTHING = TOKEN_CELLS.map(() => 0);

export interface Parts {
  readonly model: VisionLanguageModel;
  readonly heads: Heads;
  readonly settings: ImageSettings;
  readonly plan: PretrainPlan;
}

interface Pictures {
  readonly scenes: readonly Scene[];
  readonly prompts: readonly Prompt[];
  readonly random: Random;
}

/** The scenes of an update depend on nothing but its number. */
function drawPictures({ plan, settings }: Parts, stage: Stage, update: number): Pictures {
  const random = new Random(`pretrain/${plan.seed}/${stage.name}/${update}`);
  const scenes = Array.from({ length: stage.images }, () => drawScene(random));
  return { scenes, random, prompts: scenes.map((scene) => picturePrompt(render(scene, random), settings)) };
}

function sightLoss({ model, heads }: Parts, { patches, tokens }: Sight, scenes: readonly Scene[]): Tensor {
  const ofPatches = scenes.map((scene) => patchTargets(scene));
  const ofTokens = scenes.map((scene) => tokenTargets(scene));
  const patch = heads.patchLoss(patches, {
    colors: ofPatches.flatMap(({ colors }) => colors),
    shapes: ofPatches.flatMap(({ shapes }) => shapes),
    boxes: ofPatches.flatMap(({ boxes }) => boxes),
    places: ofPatches.flatMap(({ places }) => places),
  });
  const token = heads.tokenLoss(model.model.norm.forward(tokens), model.headWeight, {
    words: ofTokens.flatMap(({ words }) => words),
    boxes: ofTokens.flatMap(({ boxes }) => boxes),
    covered: ofTokens.flatMap(({ covered }) => covered),
  });
  return patch.add(token.mul(TOKEN_WEIGHT));
}

export function seeLoss(parts: Parts, stage: Stage, update: number): UpdateLoss {
  const { scenes, prompts } = drawPictures(parts, stage, update);
  const loss = sightLoss(parts, see(parts.model, prompts), scenes);
  return { loss, report: { sight: loss.item() } };
}

/** The auxiliary losses of the second stage, before their weights. */
interface Watched {
  readonly sight: Tensor;
  readonly box: Tensor;
  readonly pointer: Tensor;
}

function watch(parts: Parts, states: States, said: readonly Said[], scenes: readonly Scene[]): Watched {
  const { model, heads } = parts;
  const { layers, packed, patches, features } = states;
  if (!patches || !features) throw new Error('the prompts have no images');
  const rows = (layer: Tensor, chosen: readonly Said[]): Tensor =>
    layer.view(-1, layer.size(-1)).indexSelect(0, indices(chosen.map(({ index }) => packed.predictors[index] ?? 0)));
  const watched = said.filter((each) => each.watched);
  const finding = watched.filter(({ lesson }) => lesson.kind === 'find');
  const asking = watched.filter(({ lesson }) => lesson.kind === 'exists');

  const tokens = features.view(scenes.length, TOKEN_CELLS.length, -1);
  const seen = (chosen: readonly Said[]): Tensor => tokens.indexSelect(0, indices(chosen.map(({ scene }) => scene)));
  const shown = (chosen: readonly Said[]): number[] =>
    chosen.flatMap(({ lesson }) => (lesson.object ? tokensOf(lesson.object.box) : NOTHING));
  const pointers = layers
    .slice(0, POINTER_LAYERS)
    .map((layer) =>
      findLoss(heads, rows(layer, finding), seen(finding), shown(finding)).add(
        existsLoss(heads, rows(layer, asking), seen(asking), shown(asking)).mul(EXISTS_WEIGHT),
      ),
    );
  const boxes = finding.flatMap(({ lesson }) => (lesson.object?.box ?? []).map(scaled));
  const last = layers.at(-1);
  if (!last) throw new Error('the decoder has no layers');
  return {
    sight: sightLoss(parts, { patches: inReadingOrder(model, patches), tokens: features }, scenes),
    box: boxLoss(heads, model.model.norm.forward(rows(last, finding)), boxes),
    pointer: pointers.reduce((sum, each) => sum.add(each)).div(pointers.length),
  };
}

export function readLoss(parts: Parts, stage: Stage, update: number): UpdateLoss {
  const { model, plan } = parts;
  const { scenes, prompts, random } = drawPictures(parts, stage, update);
  const progress = update / stage.updates;
  const late = progress >= plan.late;
  const options = { ...plan.lessons, jitter: late ? plan.jitter.late : plan.jitter.early, imagine: late };
  const lessons = scenes.map((scene) => drawLessons(scene, random, options));
  const said = saidTokens(lessons);

  const items = prompts.map((prompt, i) => ({ prompt, responses: (lessons[i] ?? []).map(({ read }) => read) }));
  const all: Watched[] = [];
  const { hidden } = model.hidden(items, (states) => {
    const { sight, box, pointer } = watch(parts, states, said, scenes);
    all.push({ sight: keep(sight), box: keep(box), pointer: keep(pointer) });
  });
  const [watched] = all;
  if (!watched) throw new Error('nothing was watched');

  const { weights, blur } = plan;
  const logits = model.logits(hidden.indexSelect(0, indices(said.map(({ index }) => index))));
  const speech = speechLoss(
    logits,
    said,
    { ...weights, find: 1 },
    NUMBER_IDS,
    late ? { blur: blur.late, distance: weights.distance } : { blur: blur.early, distance: 0 },
  );
  const { sight, box, pointer } = watched;
  const fading = 1 - progress;
  const loss = speech.loss
    .add(sight.mul(weights.sight * Math.max(0.2, fading)))
    .add(box.mul(weights.box * fading))
    .add(pointer.mul(weights.pointer * fading));
  const report = {
    find: speech.mean('find').item(),
    distance: speech.distance.item(),
    exists: existsAccuracy(logits, said),
    box: (box.item() * SIDE) / 2,
    pointer: pointer.item(),
    sight: sight.item(),
  };
  // The graph holds what the losses need.
  for (const each of [sight, box, pointer]) each.dispose();
  return { loss, report };
}
