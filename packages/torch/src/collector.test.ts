/** What nobody disposes: the garbage collector does, once. In processes of their own, with the collector at hand. */
import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';

const index = new URL('./index.ts', import.meta.url).href;

/** Runs a program over the package and returns what it prints. */
function run(body: string): string {
  const program = `
    import * as torch from ${JSON.stringify(index)};
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    const collect = async () => { for (let i = 0; i < 4; i++) { globalThis.gc(); await turn(); } };
    ${body}`;
  return execFileSync(process.execPath, ['--expose-gc', '--no-warnings', '--input-type=module', '--eval', program], {
    encoding: 'utf8',
  });
}

test('tensors, kept tensors, modules and returns of scopes that were forgotten are freed once', () => {
  const body = `
    const make = () => {
      for (let i = 0; i < 100; i++) {
        torch.ones([2]);
        torch.keep(torch.ones([2]));
        torch.scope(() => torch.keep(torch.ones([2])));
        torch.scope(() => torch.scope(() => torch.ones([2])));
        new torch.nn.Linear(2, 2);
        torch.ones([2]).dispose();
      }
    };
    const before = torch.live().handles;
    make();
    const made = torch.live().handles - before;
    const mine = Array.from({ length: 100 }, (_, i) => torch.full([1], i));
    await collect();
    const alive = mine.every((each, i) => each.item() === i);
    console.log(made, torch.live().handles - before, alive);`;
  expect(run(body)).toBe('600 100 true\n');
});

test('the engine knows of native memory: it collects forgotten tensors while a loop turns the event loop', () => {
  const body = `
    for (let i = 0; i < 400; i++) {
      torch.full([4 << 20], 1, { dtype: 'uint8' });
      await turn();
    }
    console.log(torch.live().bytes < 400 * (4 << 20) / 2);`;
  expect(run(body)).toBe('true\n');
});

test('a generator that was forgotten gives its place to the next', () => {
  const body = `
    for (let i = 0; i < 10; i++) new torch.Generator(i);
    await collect();
    console.log(new torch.Generator(0).id < 10);`;
  expect(run(body)).toBe('true\n');
});
