/** The recipe as a library: its data, and the demo that trains its base model. */
export { generateSuite, type Line, type SuiteFiles, type SuiteOptions } from './dataset.ts';
export { isFinished } from './demo/session.ts';
export { demo, type DemoEvent, type DemoOptions, type DemoResult } from './demo/demo.ts';
export { SKILL_SETS, TASK_SETS, type SetName } from './questions.ts';
