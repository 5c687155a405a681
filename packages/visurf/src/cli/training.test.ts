import { stripVTControlCharacters } from 'node:util';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { layout, Status } from './status.ts';
import { TrainingScreen } from './training.ts';

type Taken = Parameters<TrainingScreen['take']>[0];

const ESC = String.fromCharCode(27);
const PIECES = new RegExp(`${ESC}\\[(?:\\d+A|J|K|[\\d;]*m)|\\r|\\n|[^${ESC}\\r\\n]+`, 'g');
const UP = new RegExp(`^${ESC}\\[(\\d+)A$`);

/** What a terminal of a width shows, drawn as it would: lines above are moved to, and rubbed out from there on. */
class FakeTerminal {
  readonly isTTY = true;
  readonly columns: number;
  lines = [''];
  row = 0;

  constructor(columns: number) {
    this.columns = columns;
  }

  write(text: string): void {
    for (const [piece] of text.matchAll(PIECES)) {
      const up = UP.exec(piece)?.[1];
      if (up !== undefined) this.row -= Number(up);
      else if (piece === `${ESC}[J`) this.lines.length = this.row + 1;
      else if (piece === '\r') this.lines[this.row] = '';
      else if (piece === '\n') this.lines[++this.row] ??= '';
      else if (!piece.startsWith(ESC)) this.lines[this.row] = (this.lines[this.row] ?? '') + piece;
    }
  }

  get shown(): string {
    return this.lines.join('\n');
  }
}

class Pipe {
  text = '';
  write(text: string): void {
    this.text += text;
  }
}

/** Seconds of a step's phases, and of an evaluation of ten parts. */
const PHASES = [
  ['prompt', 0.2],
  ['rollout', 1],
  ['reward', 0.1],
  ['update', 0.7],
] as const;
const STEP = 2;
const EVALUATION = 10;

interface Setting {
  readonly steps: number;
  readonly every: number;
  readonly from?: number;
  readonly pace?: Taken;
}

/** Plays a run. @param look sees the screen after every event, and the seconds that are truly left */
function play(
  screen: FakeTerminal | Pipe,
  { steps, every, from = 0, pace }: Setting,
  look: (left: number, event: Taken) => void,
): void {
  let now = 0;
  const due = (step: number) => step === steps || (every > 0 && step % every === 0);
  const evaluations = (after: number) =>
    Array.from({ length: steps - after }, (_, i) => after + i + 1).filter(due).length;
  const whole = (steps - from) * STEP + (evaluations(from) + (from === 0 ? 1 : 0)) * EVALUATION;
  const shown = new TrainingScreen({ promptsPerStep: 32, every }, screen, () => now);
  const take = (event: Taken): void => {
    shown.take(event);
    look(whole - now, event);
  };
  const evaluate = (step: number): void => {
    for (let done = 0; done <= 10; done++) {
      take({ kind: 'progress', step, steps, phase: 'evaluation', done, total: 10 });
      if (done < 10) now += EVALUATION / 10;
    }
    take({
      kind: 'eval',
      step,
      n: 10,
      metrics: { gIoU: 40.25, presentIoU: 50, nAcc: 86.5, falseEmpty: 1, reward: 2.5 },
    });
  };
  if (pace) take(pace);
  if (from === 0) evaluate(0);
  for (let step = from + 1; step <= steps; step++) {
    for (const [phase, seconds] of PHASES) {
      for (let done = 0; done <= 4; done++) {
        take({ kind: 'progress', step, steps, phase, done, total: 4 });
        if (done < 4) now += seconds / 4;
      }
    }
    take({ kind: 'step', step, steps, metrics: { loss: 0.1, gradientNorm: 1, learningRate: 1e-6, reward: 3.456 } });
    if (due(step)) evaluate(step);
  }
  shown.finish();
}

const secondsIn = (text: string): number | undefined => {
  const found = /(?:(\d+) h )?(?:(\d+) min )?(?:(\d+) s )?left/.exec(text.replaceAll('\n', ' '));
  return found ? Number(found[1] ?? 0) * 3600 + Number(found[2] ?? 0) * 60 + Number(found[3] ?? 0) : undefined;
};

beforeEach(() => vi.stubEnv('NO_COLOR', '1'));
afterEach(() => vi.unstubAllEnvs());

test.each([30, 40, 60, 80, 120, 200])(
  'at %i columns nothing that matters is cut off, and no line is too long',
  (columns) => {
    const screen = new FakeTerminal(columns);
    let looks = 0;
    play(screen, { steps: 20, every: 5 }, (_, event) => {
      // A message is wrapped by the terminal, and never drawn over.
      const drawn = screen.lines.filter((line) => !/^(before training|step \d+): /.test(line));
      for (const line of drawn) expect(stripVTControlCharacters(line).length).toBeLessThan(columns);
      expect(screen.shown).not.toContain('…');
      if (event.kind !== 'progress' || event.step < 3 || event.phase === 'evaluation') return;
      looks += 1;
      for (const part of [/step \d+\/20/, /left/, /reward 3\.456/, /N-Acc 86\.5/, /2 s a step/, /\d+ samples/]) {
        expect(screen.shown).toMatch(part);
      }
    });
    expect(looks).toBeGreaterThan(100);
    // What was drawn over is gone: one status, and a line for each of five evaluations.
    expect(screen.shown.match(/s a step/g)).toHaveLength(1);
    expect(screen.shown.match(/before training: gIoU|^step \d+: gIoU/gm)).toHaveLength(5);
  },
);

test('time left is true from the first step on: through evaluations, and as soon as a run goes on', () => {
  const screen = new FakeTerminal(80);
  let known = 0;
  const check = (left: number, event: Taken): void => {
    const said = secondsIn(screen.shown.split('\n').slice(-2).join(' '));
    if (said === undefined) return;
    known += 1;
    if (left > 2 && event.kind === 'progress')
      expect(Math.abs(said - left)).toBeLessThanOrEqual(Math.max(3, 0.1 * left));
    if (left > 1) expect(said).toBeGreaterThan(0);
  };
  play(screen, { steps: 30, every: 10 }, check);
  expect(known).toBeGreaterThan(500);

  const resumed = new FakeTerminal(80);
  const pace = { kind: 'pace', steps: [2, 2, 2.1], evaluation: 10 } as const;
  play(resumed, { steps: 40, every: 10, from: 25, pace }, (left, event) => {
    if (event.kind !== 'progress' || event.phase === 'evaluation') return;
    expect(Math.abs(secondsIn(resumed.shown.split('\n').slice(-2).join(' '))! - left)).toBeLessThanOrEqual(
      Math.max(3, 0.1 * left),
    );
  });
});

test('before a step is made nothing is said of the time left', () => {
  const screen = new FakeTerminal(80);
  play(screen, { steps: 2, every: 0 }, (_, event) => {
    if (event.kind === 'progress' && event.step <= 1) expect(screen.shown).not.toContain('left');
  });
});

test('a pipe gets plain lines, few of them, with no control characters', () => {
  const pipe = new Pipe();
  play(pipe, { steps: 30, every: 10 }, () => undefined);
  expect([pipe.text.includes(ESC), pipe.text.includes('\r')]).toEqual([false, false]);
  const lines = pipe.text.trim().split('\n');
  expect(lines.length).toBeLessThan(20);
  expect(lines.filter((line) => line.includes('reward 3.456')).length).toBeGreaterThan(3);
  expect(new Set(lines).size).toBe(lines.length);
});

test('colour where it is asked for, and none where it is not', () => {
  for (const [name, isColoured] of [
    ['FORCE_COLOR', true],
    ['NO_COLOR', false],
  ] as const) {
    vi.unstubAllEnvs();
    vi.stubEnv(name, '1');
    let written = '';
    const screen = { isTTY: true, columns: 80, write: (text: string) => (written += text) };
    const shown = new TrainingScreen({ promptsPerStep: 8, every: 0 }, screen, () => 0);
    shown.take({ kind: 'progress', step: 1, steps: 2, phase: 'rollout', done: 1, total: 2 });
    expect([name, written.includes(`${ESC}[`)]).toEqual([name, isColoured]);
  }
});

test('parts go to the next line as a whole, and one that is wider than all is cut', () => {
  expect(layout(['a'.repeat(10), '', 'b'.repeat(10)], 30)).toEqual([`${'a'.repeat(10)}  ${'b'.repeat(10)}`]);
  expect(layout(['a'.repeat(15), 'b'.repeat(15)], 30)).toEqual(['a'.repeat(15), 'b'.repeat(15)]);
  expect(layout(['c'.repeat(50)], 30)).toEqual([`${'c'.repeat(28)}…`]);
});

test('a message stands above the status, which stays the last', () => {
  const screen = new FakeTerminal(40);
  const status = new Status(screen, () => 0);
  status.show(['first', 'x'.repeat(30)]);
  status.message('something happened');
  expect(screen.lines).toEqual(['something happened', `first  ${'x'.repeat(30)}`]);
  status.finish();
  expect(screen.lines).toEqual(['something happened', `first  ${'x'.repeat(30)}`, '']);
});
