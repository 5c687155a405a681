import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

test('our side of every comparison runs, and its page has no gaps', async () => {
  const bench = join(import.meta.dirname, 'bench.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [bench, '--smoke']);
  expect(stdout).toMatch(/2 prompts of \d+ tokens, 4 rollouts each of 6 tokens/);
  for (const kind of ['rlvr', 'visurf', 'rollouts', 'sft']) expect(stdout).toContain(`| visurf ${kind} |`);
  // Every program stands in for its own peer.
  expect(stdout.match(/^\| step, s \|.*\| 1\.00 \(1\.00 to 1\.00\) times \|$/gm)).toHaveLength(10);
  expect(stdout).toMatch(/^\| \(b\) float32, \w+ \|/m);
  expect(stdout).toContain('**visurf, model (b): group**');
  expect(stdout).not.toMatch(/NaN|undefined|\{\{/);
});
