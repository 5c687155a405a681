import { expect, test } from 'vitest';
import { parseConfig } from '../config/load.ts';
import { rateWarning } from './rate.ts';

const config = (learningRate: number, more: object = {}) =>
  parseConfig({ model: 'm', output: 'o', steps: 1, data: { train: 't' }, optimizer: { learningRate }, ...more });
const lora = { train: { lora: {} } };

test('a rate of the other kind of training is named, whatever the size of the model', () => {
  expect(rateWarning(config(1e-6, lora), 3e9)).toMatch('adapters (train.lora) hardly move');
  expect(rateWarning(config(1e-5, lora), 3e9)).toBeUndefined();
  expect(rateWarning(config(1e-4), 3e9)).toMatch('a rate for adapters');
  expect(rateWarning(config(1e-6), 3e9)).toBeUndefined();
  expect(rateWarning(config(1e-5, { paradigm: 'sft' }), 3e9)).toBeUndefined();
  // The miniatures of recipes/.
  for (const rate of [1.5e-4, 4e-4]) expect(rateWarning(config(rate), 1.5e6)).toBeUndefined();
  expect(rateWarning(config(1e-6, lora), 1.5e6)).toMatch('Try 1.5e-3');
});
