/** The recipe as a library: its data and the base model. */
import { fileURLToPath } from 'node:url';

export { generateDataset, type DatasetOptions, type Split } from './dataset.ts';

/** The pretrained checkpoint, in Hugging Face layout. */
export const BASE_MODEL = fileURLToPath(new URL('../base', import.meta.url));
