import { expect, test } from 'vitest';
import { Eta, type Stage } from './eta.ts';

const stages: Stage[] = [
  { name: 'data', kind: 'data', units: 10, seconds: 20 },
  { name: 'train A', kind: 'train', units: 100, seconds: 180 },
  { name: 'train B', kind: 'train', units: 100, seconds: 200 },
];

function started(): { eta: Eta; wait: (seconds: number) => void } {
  let now = 1000;
  return { eta: new Eta(stages, () => now), wait: (seconds) => (now += seconds) };
}

test('without measurements it is what was expected', () => {
  const { eta } = started();
  eta.begin('data');
  expect(eta.remaining).toBe(400);
  eta.begin('train A', 50);
  expect(eta.remaining).toBe(290);
});

test('measurements replace expectations as they outweigh them', () => {
  const { eta, wait } = started();
  eta.begin('data');
  eta.begin('train A');
  wait(360);
  eta.advance(100);
  // Doubt is 20 s of 400: (360 + 20) / (180 + 20) times as slow.
  expect(eta.remaining).toBeCloseTo(200 * 1.9);
  eta.begin('train B');
  expect(eta.remaining).toBeCloseTo(200 * 1.9);
});

test('what an earlier session did is not measured', () => {
  const { eta, wait } = started();
  eta.begin('train A', 90);
  wait(18);
  eta.advance(100);
  eta.begin('train B');
  expect(eta.remaining).toBeCloseTo(200);
});

test('a kind of work not seen yet is as slow as the work seen', () => {
  const { eta, wait } = started();
  eta.begin('data');
  wait(60);
  eta.advance(10);
  eta.begin('train A');
  expect(eta.remaining).toBeCloseTo(380 * 2); // (60 + 20) / (20 + 20)
});
