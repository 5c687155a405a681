import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';

import { isGradEnabled, live, noGrad, ones } from './index.ts';

const index = new URL('./index.ts', import.meta.url).href;
const start = (body: string): Worker =>
  new Worker(
    `const { parentPort } = require('node:worker_threads');
     import(${JSON.stringify(index)}).then(async (torch) => { ${body} });`,
    { eval: true },
  );

test('every thread has its own handles, modes and errors', async () => {
  const x = ones([3]);
  const { handles } = live();
  const worker = start(`
    const first = torch.live().handles;
    const x = torch.ones([2]).requiresGrad_();
    x.square().sum().backward();
    let message = '';
    try { x.matmul(torch.ones([3])); } catch (error) { message = error instanceof torch.TorchError ? error.operator : 'foreign'; }
    parentPort.postMessage({ first, gradient: x.grad.toArray(), recording: torch.isGradEnabled(), message });`);
  const [answer] = await noGrad(() => [once(worker, 'message')] as const)[0];
  expect(answer).toEqual({ first: 0, gradient: [2, 2], recording: true, message: 'aten::matmul' });
  expect(await once(worker, 'exit')).toEqual([0]);
  expect(live().handles).toBe(handles);
  expect(x.sum().item()).toBe(3);
  expect(isGradEnabled()).toBe(true);
});

test('a thread that ends with tensors, a graph and modes open does not take the process down', async () => {
  for (let i = 0; i < 3; i++) {
    const worker = start(`
      torch.keep(torch.ones([1000]).requiresGrad_()).exp().sum();
      new torch.Generator(1);
      parentPort.postMessage('ready');
      torch.inferenceMode(() => { torch.autocast('bfloat16', () => { for (;;) torch.scope(() => torch.ones([100]).add(1)); }); });`);
    await once(worker, 'message');
    await worker.terminate();
  }
  expect(ones([2]).sum().item()).toBe(2);
});
