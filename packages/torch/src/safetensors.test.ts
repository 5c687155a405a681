import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';

import { arange, full, live, SafetensorsFile, saveSafetensors, scope, tensor, type DType } from './index.ts';

const directory = mkdtempSync(join(tmpdir(), 'safetensors-'));
afterAll(() => {
  rmSync(directory, { recursive: true });
});
const at = (name: string): string => join(directory, name);

/** A file with this header, written as it stands, and this data. */
function write(name: string, header: unknown, data: Uint8Array = new Uint8Array()): string {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(at(name), Buffer.concat([length, json, data]));
  return at(name);
}

test.each<DType>(['float64', 'float32', 'float16', 'bfloat16', 'int64', 'int32', 'int16', 'int8', 'uint8', 'bool'])(
  'a tensor of %s comes back as it was written',
  (dtype) => {
    const values = tensor([0, 1, 1, 0, 1, 0], { shape: [2, 3], dtype });
    saveSafetensors(at('dtype'), new Map([['a.weight', values]]), { step: '7' });
    using file = new SafetensorsFile(at('dtype'));
    expect(file.names).toEqual(['a.weight']);
    expect(file.metadata).toEqual({ step: '7' });
    expect(file.dtypeOf('a.weight')).toBe(dtype);
    const back = file.get('a.weight');
    expect(back.shape).toEqual([2, 3]);
    expect(back.dtype).toBe(dtype);
    expect(back.toTypedArray()).toEqual(values.toTypedArray());
  },
);

test('views, scalars and empty tensors are written by their elements', () => {
  const grid = arange(0, 6, 1, { dtype: 'float32' }).view(2, 3);
  const written = { turned: grid.t(), scalar: full([], 3), none: full([0, 4], 1) };
  saveSafetensors(at('views'), new Map(Object.entries(written)));
  using file = new SafetensorsFile(at('views'));
  expect(file.get('turned').toArray()).toEqual([0, 3, 1, 4, 2, 5]);
  expect(file.get('scalar').shape).toEqual([]);
  expect(file.get('scalar').item()).toBe(3);
  expect(file.get('none').shape).toEqual([0, 4]);
});

test('opening and reading cost handles, not copies; a tensor outlives its file', () => {
  saveSafetensors(at('lazy'), new Map([['x', full([1024], 2)]]));
  const before = live();
  const file = new SafetensorsFile(at('lazy'));
  const x = file.get('x');
  expect(live().handles - before.handles).toBe(2);
  expect(live().bytes - before.bytes).toBe(readFileSync(at('lazy')).length);
  file.close();
  expect(x.sum().item()).toBe(2048);
  x.dispose();
});

test('writing to a tensor of a file changes neither the file nor the tensor read next by another', () => {
  saveSafetensors(at('private'), new Map([['x', full([4], 2)]]));
  using first = new SafetensorsFile(at('private'));
  first.get('x').fill_(9);
  using second = new SafetensorsFile(at('private'));
  expect(second.get('x').toArray()).toEqual([2, 2, 2, 2]);
});

test('a file can be replaced by tensors that are views of it, and nothing is left beside it', () => {
  saveSafetensors(at('again'), new Map([['x', full([4096], 2)]]));
  using old = new SafetensorsFile(at('again'));
  saveSafetensors(at('again'), new Map([['x', old.get('x')]]));
  using renewed = new SafetensorsFile(at('again'));
  expect(renewed.get('x').sum().item()).toBe(8192);
  expect(readdirSync(directory).filter((name) => name.includes('partial'))).toEqual([]);
});

test('names are data: they never reach the prototype of an object', () => {
  saveSafetensors(at('names'), new Map([['__proto__', full([1], 1)], ['constructor', full([1], 2)]])); // prettier-ignore
  using file = new SafetensorsFile(at('names'));
  expect(file.names.sort()).toEqual(['__proto__', 'constructor']);
  expect(file.get('__proto__').item()).toBe(1);
  expect(() => saveSafetensors(at('names'), new Map([['__metadata__', full([1], 1)]]))).toThrow('__metadata__');
});

test('the header that Python wrote is read, and the numbers agree with their bytes', () => {
  const fixture = new URL('../../../oracle/fixtures/tiny-qwen2_5-vl/model/model.safetensors', import.meta.url).pathname;
  using file = new SafetensorsFile(fixture);
  expect(file.metadata.format).toBe('pt');
  const bytes = readFileSync(fixture);
  const headerBytes = Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + headerBytes)) as Record<
    string,
    { shape: number[]; data_offsets: [number, number] }
  >;
  expect([...file.names, '__metadata__'].sort()).toEqual(Object.keys(header).sort());
  for (const name of file.names) {
    scope(() => {
      const { shape, data_offsets: offsets } = header[name] ?? { shape: [], data_offsets: [0, 0] as const };
      const raw = file.get(name).toTypedArray();
      expect(file.shapeOf(name)).toEqual(shape);
      const stored = bytes.subarray(8 + headerBytes + offsets[0], 8 + headerBytes + offsets[1]);
      expect(Buffer.compare(Buffer.from(raw.buffer), stored)).toBe(0);
    });
  }
});

test('an offset that is not aligned to the element is read right', () => {
  const data = Buffer.alloc(13);
  data.writeUInt8(7, 0);
  [1.5, -2, 4].forEach((value, i) => data.writeFloatLE(value, 1 + 4 * i));
  const header = {
    a: { dtype: 'U8', shape: [1], data_offsets: [0, 1] },
    b: { dtype: 'F32', shape: [3], data_offsets: [1, 13] },
  };
  using file = new SafetensorsFile(write('unaligned', header, data));
  expect(file.get('a').item()).toBe(7);
  expect(file.get('b').toArray()).toEqual([1.5, -2, 4]);
});

describe('a damaged or hostile file is refused with its reason', () => {
  const f32 = (start: unknown, end: unknown, shape: unknown = [2]): unknown => ({
    dtype: 'F32',
    shape,
    data_offsets: [start, end],
  });
  const data = new Uint8Array(8);

  test.each<[string, unknown, string]>([
    ['no JSON', '{"x": ', 'no JSON'],
    ['a list', '[]', 'no JSON object'],
    ['null', 'null', 'no JSON object'],
    ['a tensor that is null', { x: null }, 'has no description'],
    ['a number for a name', { x: 3 }, 'has no description'],
    ['an unknown dtype', { x: { dtype: 'F4', shape: [2], data_offsets: [0, 8] } }, 'unknown dtype "F4"'],
    ['a dtype from the prototype', { x: { dtype: 'constructor', shape: [2], data_offsets: [0, 8] } }, 'unknown dtype'],
    ['a negative size', { x: f32(0, 8, [-2]) }, 'no valid shape'],
    ['a fractional size', { x: f32(0, 8, [0.5, 4]) }, 'no valid shape'],
    ['no shape', { x: { dtype: 'F32', data_offsets: [0, 8] } }, 'no valid shape'],
    ['a negative offset', { x: f32(-8, 0) }, 'no valid offsets'],
    ['three offsets', { x: { dtype: 'F32', shape: [2], data_offsets: [0, 4, 8] } }, 'no valid offsets'],
    ['offsets turned round', { x: f32(8, 0) }, 'its offsets span -8'],
    ['a span that is not the shape', { x: f32(0, 8, [3]) }, 'needs 12 bytes, its offsets span 8'],
    ['a size beyond every number', { x: f32(0, 8, [2 ** 50, 2 ** 50]) }, 'its offsets span 8'],
    ['an end beyond the file', { x: f32(0, 16, [4]) }, 'truncated'],
    ['an overlap', { x: f32(0, 8), y: f32(4, 8, [1]) }, 'overlaps another'],
    ['a hole', { x: f32(4, 8, [1]) }, 'follows a hole'],
    ['bytes of nobody', { x: f32(0, 4, [1]) }, '4 bytes at its end belong to no tensor'],
    ['metadata that is no map', { __metadata__: { a: 1 }, x: f32(0, 8) }, '__metadata__'],
  ])('%s', (name, header, message) => {
    const path = write(name.replaceAll(' ', '-'), header, data);
    expect(() => new SafetensorsFile(path)).toThrow(message);
    expect(() => new SafetensorsFile(path)).toThrow(path);
  });

  test('a header longer than the file', () => {
    writeFileSync(at('huge'), Buffer.from([255, 255, 255, 255, 255, 255, 255, 255, 123, 125]));
    expect(() => new SafetensorsFile(at('huge'))).toThrow('header claims 18446744073709552000 bytes of 10');
  });

  test('an empty file, a missing one, and a name that is not there', () => {
    writeFileSync(at('empty'), '');
    expect(() => new SafetensorsFile(at('empty'))).toThrow('it has 0 bytes');
    expect(() => new SafetensorsFile(at('missing'))).toThrow('ENOENT');
    using file = new SafetensorsFile(write('one', { x: f32(0, 8) }, data));
    expect(() => file.get('y')).toThrow('has no tensor y');
  });
});
