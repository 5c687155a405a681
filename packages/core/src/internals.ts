/**
 * The engine's parts, for recipes and benchmarks that build models and pretrain them. Less stable than the index.
 */
export { parseModelConfig } from './families/config.ts';
export type { ModelConfig } from './model/config.ts';
export { loadModel } from './families/load.ts';
export { pack, nextPosition, type Packed, type PromptWithResponses } from './model/pack.ts';
export { VisionLanguageModel, type Hidden, type States } from './model/vlm.ts';
export { textRotation } from './model/rope.ts';
export { planVision } from './model/vision.ts';
export { loadLocalPolicy } from './policy.ts';
export { modelFiles } from './export/huggingface.ts';
export { loadImageSettings, patchesOf, resizePixels, writePatches, type ImageSettings } from './prompt/image.ts';
export { promptPositions } from './prompt/positions.ts';
export { respond, type RespondOptions } from './rollout/respond.ts';
export { greedy } from './rollout/sampler.ts';
export { trainStep, type StepContext } from './step.ts';
export type { StepResult } from './run/record.ts';
export { ask, type Question } from './question/ask.ts';
export { Experiment } from './question/experiment.ts';
export { readSettings, settingsOf } from './question/settings.ts';
export { makeOptimizer, trainable } from './update/optimizer.ts';
export { logProbs } from './update/log-probs.ts';
export { updatePolicy } from './update/update.ts';
export { evaluatePolicy } from './eval/evaluate.ts';
export { makeScorer, makeScorers, scorerOf } from './reward/reward.ts';
export { countForms, labelTexts, mergeCounts, preferredForm, rarestForm, writeLabel } from './label/align.ts';
export { checkpointSteps, stepName } from './run/checkpoint.ts';
export { openServed, openThread, type OpenedThread } from './opened.ts';
export { ServerProcess } from './servers/process.ts';
export { readAnswer } from './predict.ts';
export type { PolicyThread } from './answers/policy-thread.ts';
export type { Answered, AskOptions, Said } from './answers/queue.ts';
export type { Piece } from './answers/utterance.ts';
export { narrowed } from './constrain/shape.ts';
export type { AnswerSchema } from './tasks/schema.ts';
