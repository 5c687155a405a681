/** bfloat16 on a processor that cannot multiply in it: said before and as a run starts, and never chosen by itself. */

import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { visurf, visurfJson } from './cli.ts';
import { eventsOf, makeFolder } from './training.ts';

test.runIf(process.arch === 'x64')('plan and train warn of bfloat16 that is emulated, and only of it', async () => {
  // What oneDNN may use of this processor, for the commands below.
  vi.stubEnv('ONEDNN_MAX_CPU_ISA', 'AVX2');
  const folder = await makeFolder({});
  const config = join(folder, 'config.yaml');
  const slow = expect.stringMatching(/bfloat16 is \d+ times slower than float32 here/) as string;
  expect(await visurfJson('plan', config, 'precision=bfloat16')).toMatchObject({ warnings: [slow] });
  expect(await visurfJson('plan', config)).toMatchObject({ warnings: [] });

  const { code, stderr } = await visurf('train', config, 'precision=bfloat16');
  expect([code, stderr]).toEqual([0, slow]);
  const warning = { type: 'warning', step: 0, message: slow };
  expect(eventsOf(join(folder, 'run'))).toContainEqual(warning);
  expect((await visurf('train', config, `output=${join(folder, 'other')}`)).code).toBe(0);
  expect(eventsOf(join(folder, 'other'))).not.toContainEqual(warning);
});
