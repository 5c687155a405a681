import { setTimeout } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Watchdog } from './watchdog.ts';

const said: string[] = [];
const options = { onWarning: (message: string) => said.push(message), margin: 0.05, interval: 5 };

test('a phase that hangs is named while it hangs, once; one that blocks at its end; others never', async () => {
  using dog = new Watchdog<'reward' | 'update'>(options);
  for (let step = 0; step < 5; step++) {
    for (const phase of ['reward', 'update'] as const) {
      dog.begin(phase);
      dog.end(phase);
    }
  }
  dog.begin('reward');
  await setTimeout(150);
  expect(said).toEqual([expect.stringMatching(/^the phase reward is taking 0\.\d+ s; it takes \S+ s as a rule$/)]);
  dog.end('reward');
  dog.begin('update');
  for (const end = performance.now() + 80; performance.now() < end;);
  dog.end('update');
  expect(said.slice(1)).toEqual([expect.stringMatching(/^the phase update took 0\.\d+ s/)]);
  await setTimeout(100);
  expect(said).toHaveLength(2);
});

test('the first steps are not judged', async () => {
  said.length = 0;
  using dog = new Watchdog<'rollout'>(options);
  dog.begin('rollout');
  await setTimeout(100);
  dog.end('rollout');
  expect(said).toEqual([]);
});
