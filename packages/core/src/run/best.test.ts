import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { checkpointOf } from './best.ts';

/** A run with three checkpoints, of which the second is the best. */
function makeRun(): string {
  const run = mkdtempSync(path.join(tmpdir(), 'visurf-best-'));
  writeFileSync(path.join(run, 'config.yaml'), '');
  for (const step of [1, 2, 3]) {
    const directory = path.join(run, 'checkpoints', `00000${step}`);
    mkdirSync(directory, { recursive: true });
    writeFileSync(path.join(directory, 'adapter_config.json'), '{}');
    writeFileSync(path.join(directory, 'manifest.json'), JSON.stringify(step > 1 ? { best: { step: 2 } } : {}));
  }
  symlinkSync('checkpoints/000002', path.join(run, 'best'));
  return run;
}

test('a run is its best checkpoint, whatever became of the link', () => {
  const run = makeRun();
  const best = path.join(run, 'best');
  const second = path.join(run, 'checkpoints/000002');
  expect(checkpointOf(run)).toBe(best);
  expect(checkpointOf(best)).toBeUndefined();
  expect(checkpointOf(second)).toBeUndefined();

  // An archive keeps no links, or makes files of them.
  rmSync(best);
  expect([checkpointOf(run), checkpointOf(best), checkpointOf(`${best}/`)]).toEqual([second, second, second]);
  writeFileSync(best, 'checkpoints/000002');
  expect([checkpointOf(run), checkpointOf(best)]).toEqual([second, second]);
  writeFileSync(best, 'checkpoints/000009/../..');
  expect(checkpointOf(run)).toBe(second);

  // A copy that follows links has a directory.
  rmSync(best);
  cpSync(second, best, { recursive: true });
  expect(checkpointOf(run)).toBe(best);
  expect(checkpointOf(best)).toBeUndefined();
});

test('without an evaluation the last checkpoint counts; what is no run is left to others', () => {
  const run = makeRun();
  rmSync(path.join(run, 'best'));
  for (const step of [2, 3]) writeFileSync(path.join(run, `checkpoints/00000${step}/manifest.json`), '{');
  expect(checkpointOf(run)).toBe(path.join(run, 'checkpoints/000003'));
  rmSync(path.join(run, 'checkpoints'), { recursive: true });
  expect(checkpointOf(run)).toBeUndefined();
  expect(checkpointOf('Qwen/Qwen2.5-VL-3B-Instruct')).toBeUndefined();
});
