/** The recipe as a library: its data, the base model, and the demo that trains it. */
export { generateDataset, type DatasetOptions, type Split } from './dataset.ts';
export { demo, type DemoEvent, type DemoOptions, type DemoResult } from './demo.ts';
export { BASE_MODEL } from './plan.ts';
