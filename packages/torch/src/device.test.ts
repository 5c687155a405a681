import { afterEach, describe, expect, test } from 'vitest';

import { currentDevice, withDevice } from './device.ts';
import * as factories from './factories.ts';
import * as functional from './functional.ts';
import { TorchError } from './native.ts';
import * as nn from './nn.ts';
import { live, scope } from './scope.ts';
import { standInDevice, standInKernels } from './testing.ts';
import type { Tensor } from './tensor.ts';

const device = standInDevice();
const { arange, empty, eye, full, Generator, ones, rand, randn, tensor, zeros } = factories;

type Options = factories.Options;
/** Every factory with options. */
const makers: Record<string, (options: Options) => Tensor> = {
  'tensor of numbers': (options) => tensor([[1, 2], [3, 4]], options), // prettier-ignore
  'tensor of a typed array': (options) => tensor(new Float32Array(4), { ...options, shape: [2, 2] }),
  'tensor of booleans': (options) => tensor([true, false], options),
  empty: (options) => empty([2], options),
  full: (options) => full([2], 3, options),
  zeros: (options) => zeros([2], options),
  ones: (options) => ones([2], options),
  eye: (options) => eye(3, options),
  arange: (options) => arange(0, 4, 1, options),
  rand: (options) => rand([2], options),
  randn: (options) => randn([2], options),
  'rand with a generator': (options) => rand([2], { ...options, generator: new Generator(1) }),
  'randn with a generator': (options) => randn([2], { ...options, generator: new Generator(1) }),
  parameter: (options) => nn.parameter([2], options),
  'parameter of an outline': (options) => nn.outline(() => new nn.Linear(2, 2, options)).weight,
};

describe.each(Object.entries(makers))('%s', (_, make) => {
  test('is made on the device of withDevice, unless it is given one; on the CPU without either', () => {
    expect(make({}).device).toBe('cpu');
    expect(make({ device }).device).toBe(device);
    withDevice(device, () => {
      expect(make({}).device).toBe(device);
      expect(make({ device: 'cpu' }).device).toBe('cpu');
      expect(withDevice('cpu', () => make({})).device).toBe('cpu');
      expect(make({}).device).toBe(device);
    });
    expect(make({}).device).toBe('cpu');
  });
});

test('no factory is missing above', () => {
  const made = Object.keys(factories).filter(
    (name) => !['cat', 'stack', 'meshgrid', 'callOp', 'Generator'].includes(name),
  );
  expect(made.filter((name) => !Object.keys(makers).some((key) => key.split(' ')[0] === name))).toEqual([]);
});

test("a generator's numbers are the same everywhere", () => {
  const draw = (options: Options) => randn([5], { ...options, generator: new Generator(7) }).toArray();
  expect(draw({ device })).toEqual(draw({}));
});

afterEach(() => expect(currentDevice()).toBe('cpu'));

test('withDevice ends with its function: after an error, and never with a Promise', () => {
  expect(() =>
    withDevice(device, () => {
      throw new RangeError('inside');
    }),
  ).toThrow('inside');
  expect(() => withDevice(device, () => Promise.resolve(1))).toThrow('await outside');
});

test('memory of a device is not counted, nor told to the garbage collector, as memory of the process', () => {
  const counted = (on: string): number =>
    scope(() => {
      const { bytes } = live();
      empty([1000], { device: on });
      return live().bytes - bytes;
    });
  expect([counted('cpu'), counted(device)]).toEqual([4000, 0]);
});

describe('the stand-in', () => {
  test('has the numbers of the CPU, forward and backward, through views and in place', () => {
    const run = (on: string): number[][] =>
      scope(() =>
        withDevice(on, () => {
          const x = tensor([[1, -2, 3], [4, 5, -6]], { dtype: 'float64' }).requiresGrad_(); // prettier-ignore
          const y = x.t().contiguous().narrow(0, 1, 2).matmul(x.mul(2)).softmax(-1);
          y.mul(arange(0, 6).view(2, 3).to('float64')).sum().backward();
          const z = x.detach().clone();
          z.select(0, 1).add_(1);
          return [y.toArray(), x.grad!.toArray(), z.toArray(), z.view(3, 2).unbind(1)[1]!.toArray()];
        }),
      );
    expect(run(device)).toEqual(run('cpu'));
  });

  test.each<[string, () => unknown]>([
    ['a sum', () => ones([2], { device }).add(ones([2]))],
    ['an index', () => ones([2], { device }).indexSelect(0, arange(0, 1))],
    ['a list', () => factories.cat([ones([2], { device }), ones([2])])],
    ['indices in a list', () => ones([2], { device }).index([arange(0, 1)])],
    ['rotation', () => functional.rotate(ones([1, 2], { device }), ones([1, 2]), ones([1, 2]))],
    ['norms', () => functional.rmsNorm(ones([1, 2]), ones([2], { device }), 1e-6)],
  ])('refuses operands that lie elsewhere: %s', (_, mixed) => {
    expect(mixed).toThrow(TorchError);
    expect(mixed).toThrow('same device');
  });

  test('takes a number from the CPU, as a GPU does', () => {
    expect(ones([2], { device }).mul(tensor(3)).toArray()).toEqual([3, 3]);
  });

  test('has no kernels that only the CPU has', () => {
    const x = ones([1, 2, 1, 4], { device });
    expect(() => functional.packedAttention([x, x, x], [2], 0, 0)).toThrow('this kernel is for the CPU');
    const noise = tensor([0.5], { dtype: 'float64', device });
    expect(() => functional.sample(ones([1, 4], { device }), noise, undefined, 1)).toThrow(
      'this kernel is for the CPU',
    );
  });

  test('notes the kernels that were asked of it', () => {
    standInKernels();
    scope(() => ones([2], { device }).exp().sum().item());
    expect(standInKernels()).toEqual(['_local_scalar_dense', 'exp.out', 'fill_.Scalar', 'sum.IntList_out']);
    expect(standInKernels()).toEqual([]);
  });
});
