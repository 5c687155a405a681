import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { afterAll, expect, test } from 'vitest';

import { isGradEnabled, live, noGrad, ones } from './index.ts';

const folder = mkdtempSync(join(tmpdir(), 'visurf-worker-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const index = new URL('./index.ts', import.meta.url).href;
/** A thread that runs `body`; its end may come with its message, so both are awaited from the start. */
function start(body: string): { worker: Worker; message: Promise<unknown[]>; exit: Promise<unknown[]> } {
  const code = `const { parentPort } = require('node:worker_threads');
    import(${JSON.stringify(index)}).then(async (torch) => { ${body} });`;
  const worker = new Worker(code, { eval: true });
  return { worker, message: once(worker, 'message'), exit: once(worker, 'exit') };
}

test('every thread has its own handles, modes and errors', async () => {
  const x = ones([3]);
  const { handles } = live();
  const { message, exit } = noGrad(() =>
    start(`
      const first = torch.live().handles;
      const x = torch.ones([2]).requiresGrad_();
      x.square().sum().backward();
      let message = '';
      try { x.matmul(torch.ones([3])); } catch (error) { message = error instanceof torch.TorchError ? error.operator : 'foreign'; }
      parentPort.postMessage({ first, gradient: x.grad.toArray(), recording: torch.isGradEnabled(), message });`),
  );
  expect(await message).toEqual([{ first: 0, gradient: [2, 2], recording: true, message: 'aten::matmul' }]);
  expect(await exit).toEqual([0]);
  expect(live().handles).toBe(handles);
  expect(x.sum().item()).toBe(3);
  expect(isGradEnabled()).toBe(true);
});

/** What a thread does again and again, so that it ends in that part of the addon. */
const loops: Readonly<Record<string, string>> = {
  operators: `torch.ones([100]).add(1);`,
  'operators that throw': `failing(() => torch.ones([2]).matmul(torch.ones([3])));`,
  'arguments that throw': `failing(() => torch.ones([2]).view(1.5)); failing(() => torch.callOp('sum', 'text'));`,
  lists: `torch.cat(torch.ones([8, 2]).split([3, 5])).shape;`,
  numbers: `torch.tensor([1, 2, 3]).toArray(); torch.ones([3], { dtype: 'int64' }).toArray();`,
  backward: `const x = torch.ones([50]).requiresGrad_(); x.exp().sum().backward(); x.grad = undefined;`,
  grad: `const x = torch.ones([50]).requiresGrad_(); torch.grad([x.exp().sum()], [x]);`,
  modes: `torch.inferenceMode(() => torch.autocast('bfloat16', () => torch.ones([4, 4]).matmul(torch.ones([4, 4]))));`,
  generators: `const generator = new torch.Generator(1); torch.randn([4], { generator }); generator.state = generator.state;`,
  seeds: `torch.manualSeed(3); failing(() => torch.manualSeed(-1));`,
  safetensors: `torch.saveSafetensors(file, new Map([['a', torch.ones([64])]])); failing(() => new torch.SafetensorsFile(file).get('b'));
    const opened = new torch.SafetensorsFile(file); opened.get('a').add(1); opened.close();`,
  'kernels in training': `
    const x = torch.ones([1, 40, 2, 8]).requiresGrad_(), w = torch.ones([8]);
    const y = torch.functional.packedAttention([x, x, x], [20], 2, 10);
    torch.functional.rmsNorm(torch.functional.swiglu(y), w, 1e-6).sum().backward();`,
  'kernels in generation': `
    const noise = torch.tensor([0.2, 0.4], { dtype: 'float64' });
    torch.functional.sample(torch.ones([2, 3000]), noise, undefined, 1);`,
  facts: `torch.info(); torch.live(); torch.allocated(); torch.resetPeakAllocated();`,
};

test.each(Object.entries(loops))('a thread that ends in %s does not take the process down', async (name, loop) => {
  const file = join(folder, `${name.replaceAll(' ', '-')}.safetensors`);
  const { worker, message, exit } = start(`
    const failing = (body) => { try { body(); } catch (error) { if (!(error instanceof torch.TorchError)) throw error; } };
    const file = ${JSON.stringify(file)};
    torch.keep(torch.ones([1000]).requiresGrad_()).exp().sum();
    const once = () => torch.scope(() => { ${loop} });
    for (let i = 0; i < 3; i++) once();
    parentPort.postMessage('ready');
    for (;;) once();`);
  await message;
  await wait(name.length % 7);
  await worker.terminate();
  expect(await exit).toEqual([1]);
  expect(ones([2]).sum().item()).toBe(2);
});

test('a thread that ends with modes open, or as it loads the addon, does not take the process down', async () => {
  const open = start(`
    parentPort.postMessage('ready');
    torch.inferenceMode(() => torch.autocast('bfloat16', () => { for (;;) torch.scope(() => torch.ones([100]).add(1)); }));`);
  await open.message;
  await open.worker.terminate();
  // From before the import begins until after the addon is there.
  const loading = Array.from({ length: 4 }, () => start(''));
  await Promise.all(
    loading.map(async ({ worker }, i) => {
      await wait(40 * i);
      await worker.terminate();
    }),
  );
  expect(ones([2]).sum().item()).toBe(2);
});
