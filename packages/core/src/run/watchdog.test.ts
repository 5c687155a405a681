import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Watchdog } from './watchdog.ts';

const said: string[] = [];
const options = { onWarning: (message: string) => said.push(message) };

beforeEach(() => {
  said.length = 0;
  vi.useFakeTimers();
});
afterEach(() => void vi.useRealTimers());

test('a phase that hangs is named while it hangs, once; one that blocks at its end; others never', () => {
  using dog = new Watchdog<'reward' | 'update'>(options);
  for (let step = 0; step < 5; step++) {
    for (const [phase, milliseconds] of [
      ['reward', 100],
      ['update', 4000],
    ] as const) {
      dog.begin(phase);
      vi.advanceTimersByTime(milliseconds);
      dog.end(phase);
    }
  }
  dog.begin('reward');
  vi.advanceTimersByTime(29_000);
  expect(said).toEqual([]);
  vi.advanceTimersByTime(60_000);
  expect(said).toEqual([expect.stringMatching(/^the phase reward is taking 3[01] s; it takes 0\.10 s as a rule$/)]);
  dog.end('reward');
  dog.begin('update');
  // Its timers do not fire: nothing but the clock goes on.
  const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 50_000);
  dog.end('update');
  clock.mockRestore();
  expect(said.slice(1)).toEqual(['the phase update took 50 s; it takes 4.0 s as a rule']);
  vi.advanceTimersByTime(100_000);
  expect(said).toHaveLength(2);
});

test('the first steps are not judged', () => {
  using dog = new Watchdog<'rollout'>(options);
  dog.begin('rollout');
  vi.advanceTimersByTime(100_000);
  dog.end('rollout');
  expect(said).toEqual([]);
});
