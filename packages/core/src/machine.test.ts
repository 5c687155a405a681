import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';

/** What a process says that may use those instructions of oneDNN, which multiplies in bfloat16. */
function warnings(isa: string): (string | null)[] {
  const code = `
    import { precisionWarning } from ${JSON.stringify(new URL('./machine.ts', import.meta.url).href)};
    const asked = [['bfloat16', 'cpu'], ['float32', 'cpu'], ['bfloat16', 'cuda']];
    console.log(JSON.stringify(asked.map(([precision, device]) => precisionWarning(precision, device) ?? null)));`;
  const env = { ...process.env, ONEDNN_MAX_CPU_ISA: isa, ATEN_CPU_CAPABILITY: 'avx2' };
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', code], { env, encoding: 'utf8' });
  return JSON.parse(output) as (string | null)[];
}

test.runIf(process.arch === 'x64')(
  'a processor that cannot multiply in bfloat16 is warned of it, and only of it',
  () => {
    const [half, ...others] = warnings('AVX2');
    expect(half).toMatch(/bfloat16 is \d+ times slower than float32 here.*set precision: float32/);
    expect(others).toEqual([null, null]);
  },
);
