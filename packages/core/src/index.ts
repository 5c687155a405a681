/**
 * The system as a library.
 *
 * @example
 * import { loadConfig, train } from '@visurf/core';
 * const { run, metrics } = await train(loadConfig('visurf.yaml', ['steps=80']));
 */
export { UserError } from './errors.ts';
export type * from './types.ts';

export { keyUsers, usesKey } from './config/keys.ts';
export { loadConfig, parseConfig } from './config/load.ts';
export { promptTemplate } from './config/template.ts';
export type { Config } from './config/schema.ts';
export { PARADIGMS, type Paradigm } from './schedule/paradigm.ts';
export { defineParadigm } from './schedule/registry.ts';
export type { ParadigmConfig, ParadigmDefinition, StepPart, StepWork } from './schedule/definitions.ts';

export { defineTask, taskDefinition, taskNames } from './tasks/registry.ts';
export type { Answer, Evaluation, Prediction, SurfaceForm, Task, TaskDefinition } from './tasks/task.ts';
export { defineReward, skip, type JudgedAnswer, type RewardContext, type RewardFunction } from './reward/reward.ts';
export { solutionFault } from './tasks/fault.ts';
export { mean, percentages } from './tasks/means.ts';
export { answerText, aroundOf, normalised, sameWords, textForms } from './tasks/text.ts';
export { answerBlock, hasTags, thinkingFormat, withThinking } from './tasks/thinking.ts';
export { taggedTerms, termWeights } from './tasks/weights.ts';

export { localModel } from './hub/model.ts';
export { type DownloadProgress, type HubOptions } from './hub/repository.ts';
export { explainMemory } from './memory.ts';
export { fetchStored } from './mirror/copies.ts';
export { isStored, runDirectory } from './store/address.ts';
export { locateModel, Policy, type ModelSource, type PolicyOptions } from './policy.ts';
export { PolicyThread } from './answers/policy-thread.ts';
export {
  experimentOf,
  predict,
  type Answering,
  type Predicted,
  type PredictInput,
  type PredictOptions,
} from './predict.ts';
export { exportModel, type Exported, type ExportOptions } from './export/export.ts';
export { publish, type Published, type PublishOptions } from './publish.ts';
export { mergeModels, type MergeMethod } from './export/merge.ts';
export { requireNewDirectory } from './export/directory.ts';
export type { Score } from './answers/score.ts';
export { generate, inspect, score, type AnswerOptions, type Generation, type Inspection } from './infer.ts';
export { PromptEncoder } from './prompt/encoder.ts';
export { readMessages, type PromptInput } from './prompt/messages.ts';
export type { ImageSource, Message } from './prompt/template.ts';

export { loadPolicy, openModel, type LoadOptions, type OpenedModel, type OpenOptions } from './opened.ts';
export type { MeasureOptions } from './question/measure.ts';
export { predictAll, type PredictionLine, type Predictions, type PredictionsOptions } from './predictions.ts';
export { evaluate, type EvaluateOptions, type Evaluated } from './evaluate.ts';
export type { AnsweredBy } from './servers/open.ts';
export {
  runBenchmark,
  scorePredictions,
  writeQuestions,
  type BenchmarkResult,
  type ModelBenchmarkOptions,
  type PredictionOptions,
} from './benchmark.ts';
export { PROTOCOLS, type Protocol } from './benchmarks/benchmark.ts';
export { benchmarkNames } from './benchmarks/registry.ts';
export { train, type TrainOptions } from './apart.ts';
export { deviceIn } from './device.ts';
export { declineProcesses, joinProcesses } from './distributed/join.ts';
export { launchedBy, isRestarted, worldOf, type World } from './world.ts';
export { isBegun } from './run/course.ts';
export type { TrainEvent, TrainResult } from './training/types.ts';
export type { ProfileOptions, ProfileSummary } from './run/profile.ts';
export { compare, outlook, type Compared, type CompareEvent, type CompareOptions, type Outlook } from './compare.ts';
export { loadComparison, type Comparison } from './compare/definition.ts';
export { checkData, checkReward, type CheckDataOptions, type DataReport, type RewardReport } from './check.ts';
export { describeFinding, listFindings, unusable, type Finding } from './data/findings.ts';
export { importData, type Imported, type ImportOptions } from './data/import.ts';
export { splitData, type SplitOptions } from './data/split.ts';
export { previewData, type PreviewOptions } from './data/preview.ts';
export { ASKS, type Ask } from './data/formats/classes.ts';
export { loadPlugin } from './plugins/plugins.ts';
export { defineReader } from './data/formats/registry.ts';
export type { Glance, ReadContext, Reader } from './data/formats/reader.ts';
export type { AnnotatedImage, AskedQuestion, Item } from './data/formats/record.ts';
export { BOX_FORMS, UNITS, type BoxForm, type Units } from './data/formats/record.ts';
export { readEvents, type RunEvent } from './run/events.ts';
export { initialise, type Initialised, type InitOptions } from './init.ts';
export { plan, type Plan, type PlanOptions } from './plan.ts';
export { aboutModel, type AboutModel, type TrainedShare } from './about.ts';
export { probeMachine, type Machine } from './machine.ts';
export { writeReport } from './report/report.ts';
export type * from './report/data.ts';
