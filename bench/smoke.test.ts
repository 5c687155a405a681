import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

test('our side of every comparison runs', async () => {
  const bench = join(import.meta.dirname, 'bench.ts');
  const { stderr } = await promisify(execFile)(process.execPath, [bench, '--smoke']);
  // 2 prompts, 4 rollouts of 6 tokens; an SFT step counts prompts and labels.
  for (const kind of ['rlvr', 'visurf', 'rollouts']) expect(stderr).toContain(`visurf ${kind}: 48 tokens`);
  expect(stderr).toMatch(/visurf sft: \d+ tokens/);
});
