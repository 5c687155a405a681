/** A device whose memory is full is the user's to mend, and the error says how. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { empty, isOutOfMemory, ones } from '@visurf/torch';
import { expect, onTestFinished, test } from 'vitest';

import { parseConfig } from './config/load.ts';
import { UserError } from './errors.ts';
import { explainMemory, explainTraining } from './memory.ts';
import { fixtures, tinyModel } from './testing/oracle.ts';

function thrownBy(body: () => unknown): unknown {
  try {
    body();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}
// More than the address space of a process.
const full = thrownBy(() => empty([2 ** 30, 2 ** 20]));

test('what libtorch throws where memory is not enough is known, and nothing else is', () => {
  expect(isOutOfMemory(full)).toBe(true);
  const other = thrownBy(() => ones([2]).add(ones([3])));
  expect(isOutOfMemory(other)).toBe(false);
  expect(explainMemory(other)).toBe(other);
  expect(isOutOfMemory(new Error('out of memory'))).toBe(false);
});

test('it becomes a UserError that says where and what to do', () => {
  const explained = explainMemory(full);
  expect(explained).toBeInstanceOf(UserError);
  expect(explained).toMatchObject({ where: 'device cpu', reason: 'memory is full' });
  expect((explained as UserError).remedy).toContain('--max-pixels');
});

test('a training is told which changes lower its peak, the most effective first', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'visurf-memory-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const image = join(fixtures, 'images/small-40x40.png');
  const sample = { id: 'a', image, problem: 'red', solution: [{ bbox_2d: [1, 2, 3, 4] }] };
  writeFileSync(join(folder, 'train.jsonl'), JSON.stringify(sample));
  const config = parseConfig({
    ...{ model: tinyModel, output: join(folder, 'run'), steps: 1, promptsPerStep: 16 },
    data: { allowOutside: true, train: join(folder, 'train.jsonl') },
    rollout: { group: 16, maxNewTokens: 256 },
    train: { microBatch: { prompts: 16 } },
  });
  const { remedy = '' } = (await explainTraining(full, config)) as UserError;
  expect(remedy).toMatch(/^Planned are \d+\.\d GB; change one of these: train\.\S+ \(\d+\.\d GB\), /);
  expect(remedy).toContain('train.microBatch.prompts=1');
});
