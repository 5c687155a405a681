/**
 * Computes on a GPU what the tests compute on the CPU: every comparison with the reference, a step of every family and
 * setting beside the CPU's, the same step twice, rollouts beside scores. Needs a machine with a card; any other device can be named to try it.
 *
 *     make gpu [DEVICE=cuda]
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { info, type Device } from '@visurf/torch';
import { standInDevice } from '@visurf/torch/testing';

import { families } from '../src/families/index.ts';
import { configurationNames, openConfiguration } from '../src/testing/configurations.ts';
import { worst, type Comparison } from '../src/testing/comparison.ts';
import { compareAll } from '../src/testing/parity.ts';
import { rolloutDistance } from '../src/testing/rollouts.ts';
import { smallModel, variants, wholeStep } from '../src/testing/whole-step.ts';

const { values } = parseArgs({
  options: { device: { type: 'string', default: 'cuda' }, output: { type: 'string', default: 'runs/gpu.json' } },
});
const device: Device = values.device === 'stand-in' ? standInDevice() : values.device;

interface Check {
  readonly name: string;
  readonly passed: boolean;
  readonly distance?: number;
  readonly said?: string;
}
const checks: Check[] = [];

async function check(name: string, body: () => Promise<Omit<Check, 'name'>>): Promise<void> {
  const started = performance.now();
  let found: Omit<Check, 'name'>;
  try {
    found = await body();
  } catch (error) {
    found = { passed: false, said: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  checks.push({ name, ...found });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const { passed, distance, said } = found;
  const number = distance === undefined ? '' : ` ${distance.toExponential(1)}`;
  process.stdout.write(`${passed ? 'ok  ' : 'FAIL'} ${name}${number} (${seconds} s)${said ? `\n     ${said}` : ''}\n`);
}

type Outcome = Awaited<ReturnType<typeof wholeStep>>;
const said = ({ groups }: Outcome): string =>
  JSON.stringify(groups.map(({ rollouts }) => rollouts.map(({ response }) => response.tokens)));
const apart = (a: Outcome, b: Outcome): number =>
  worst(
    Object.entries(a.parameters).flatMap(([key, all]) =>
      all.map((value, i) => Math.abs(value - (b.parameters[key]?.[i] ?? NaN))),
    ),
  );

for (const name of configurationNames) {
  await check(`parity ${name}`, async () => {
    // Attention is in bfloat16 there, too: the largest of many distances may be a little more than the reference's.
    const allowed = ({ subject, tolerance }: Comparison): number =>
      /bfloat16.*largest/.test(subject) ? 1.25 * tolerance : tolerance;
    const missed = (await compareAll(openConfiguration(name), device)).filter(
      (each) => !(each.distance <= allowed(each)),
    );
    return {
      passed: missed.length === 0,
      said: missed.map(({ subject, distance, tolerance }) => `${subject}: ${distance} of ${tolerance}`).join('\n     '),
    };
  });
}
for (const family of families) {
  const model = smallModel(family);
  await check(`${family.title}: a step in float64 is the CPU's`, async () => {
    const here = await wholeStep(model, 'cpu', {}, { dtype: 'float64' });
    const there = await wholeStep(model, device, {}, { dtype: 'float64' });
    const distance = apart(here, there);
    const same = said(here) === said(there);
    return { passed: same && distance < 1e-7, distance, ...(!same && { said: 'rollouts differ' }) };
  });
  for (const [precision, stream] of [
    ['float32', 'float32'],
    ['bfloat16', 'float32'],
    ['bfloat16', 'bfloat16'],
  ] as const) {
    await check(`${family.title}: tokens are sampled as they are scored, ${precision}, stream ${stream}`, async () => {
      const { distance, rounding, tokens } = await rolloutDistance(model, device, precision, stream);
      const said = `mean of ${tokens} tokens; the CPU rounds by ${rounding.toExponential(1)}`;
      return { passed: tokens > 2000 && distance <= 2 * rounding, distance, said };
    });
  }
  for (const [name, variant] of Object.entries(variants)) {
    await check(`${family.title}: a step, ${name}, twice the same`, async () => {
      const [once, again] = [await wholeStep(model, device, variant), await wholeStep(model, device, variant)];
      const distance = said(once) === said(again) ? apart(once, again) : NaN;
      return { passed: distance === 0 && once.update.gradientNorm > 0, distance };
    });
  }
}

const failed = checks.filter(({ passed }) => !passed).length;
mkdirSync(path.dirname(values.output), { recursive: true });
writeFileSync(values.output, JSON.stringify({ device, ...info(), checks }, undefined, 1));
process.stdout.write(`${checks.length - failed} passed, ${failed} failed\n`);
process.exitCode = failed > 0 ? 1 : 0;
