/** What other miniatures are made with: random numbers, scenes, vocabularies, checkpoints, and the pretraining loop. */
export { hash, Random } from './random.ts';
export {
  COLORS,
  drawAbsent,
  drawScene,
  render,
  resembling,
  SHAPES,
  SIDE,
  type Corners,
  type Kind,
  type Scene,
  type SceneObject,
} from './scenes.ts';
export { modelConfig, writeCheckpointFiles, type Miniature } from './checkpoint.ts';
export { Vocabulary } from './vocabulary.ts';
export { inReadingOrder, indices, picturePrompt, see } from './pretrain/forward.ts';
export { initialize } from './pretrain/initialize.ts';
export { loosen } from './pretrain/lessons.ts';
export { thisCpu } from './pretrain/measure.ts';
export {
  logUpdate,
  runPretraining,
  type OptimizerPlan,
  type PretrainingOptions,
  type Stage,
  type UpdateLoss,
} from './pretrain/pretraining.ts';
export { binaryCrossEntropy, boxLoss, crossEntropy, existsLoss, findLoss, l1, places } from './pretrain/readers.ts';
export { speechLoss, type Sharpness, type Spoken } from './pretrain/speech.ts';
export { overlap, PATCH, PATCH_CELLS, scaled, TOKEN_CELLS, tokensOf } from './pretrain/targets.ts';
export { DatasetFiles, imagePath, type Drawn, type FileOptions } from './files.ts';
