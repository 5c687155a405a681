/** Rotary position embeddings: 2-D for the vision tower, three axes (M-RoPE) for the decoder. */
import {
  arange,
  callOp,
  cat,
  currentDevice,
  functional,
  ones,
  scope,
  tensor,
  zeros,
  type DType,
  type Tensor,
} from '@visurf/torch';

import { invariant } from '../errors.ts';
import type { ModelConfig, TextConfig, VisionConfig } from './config.ts';
import { scaleFrequencies } from './rope-scaling.ts';

/** What `rotate` takes: broadcast over heads. Angles are float32 values whatever the dtype of the model. */
export interface Rotation {
  readonly cos: Tensor;
  /** sin with the sign of the first half flipped, so that a rotation is x cos + roll(x) sin. */
  readonly sin: Tensor;
}

/**
 * Computed on the CPU and brought to the current device: a GPU rounds the sines of float32 otherwise.
 * @param angles one per token and frequency, [...shape] flat
 * @param scale of the rotated vectors
 * @param still as many pairs of channels more, which do not turn
 */
function rotation(angles: Float32Array, shape: readonly number[], dtype: DType, scale = 1, still = 0): Rotation {
  return scope(() => {
    const half = tensor(angles, { shape, device: 'cpu' });
    const scaled = (x: Tensor): Tensor => (scale === 1 ? x : x.mul(scale));
    const place = [...shape.slice(0, -1), still];
    const [one, zero] = [ones(place, { device: 'cpu' }), zeros(place, { device: 'cpu' })];
    const whole = (x: Tensor, rest: Tensor): Tensor => (still === 0 ? x : cat([x, rest], -1));
    const [cos, sin] = [whole(scaled(half.cos()), one), whole(scaled(half.sin()), zero)];
    const here = (x: Tensor): Tensor => x.to(dtype).to({ device: currentDevice() });
    return { cos: here(cat([cos, cos], -1)), sin: here(cat([sin.neg(), sin], -1)) };
  });
}

/** theta^(-2 i / size) for i in 0 .. size / 2, in float32 as the reference has it, on the CPU on every device. */
export function inverseFrequencies(size: number, theta: number): Float32Array {
  return scope(() => {
    const exponents = arange(0, size, 2, { device: 'cpu' }).to('float32').div(size);
    const powers = callOp('pow.Scalar', theta, exponents) as Tensor;
    return ones([size / 2], { device: 'cpu' })
      .div(powers)
      .toFloat32Array();
  });
}

/** x [..., headSize] rotated; x1, x2 halves: [x1 cos - x2 sin, x2 cos + x1 sin]. */
export const rotate = (x: Tensor, { cos, sin }: Rotation): Tensor => functional.rotate(x, cos, sin);

/**
 * Vision: half of the frequencies turn with the row of a patch, half with its column.
 * @param positions [N] of [row, column]
 * @returns cos, sin [N, 1, headSize]
 */
export function visionRotation(
  positions: readonly (readonly [number, number])[],
  vision: VisionConfig,
  dtype: DType,
): Rotation {
  const half = vision.hiddenSize / vision.heads / 2;
  invariant(vision.ropeTheta, 'the tower has rotary positions');
  const frequencies = inverseFrequencies(half, vision.ropeTheta);
  const angles = new Float32Array(positions.length * half);
  positions.forEach(([row, column], n) => {
    frequencies.forEach((frequency, i) => {
      angles[n * half + i] = row * frequency;
      angles[n * half + half / 2 + i] = column * frequency;
    });
  });
  return rotation(angles, [positions.length, 1, half], dtype);
}

/** They are asked for with every token. */
const known = new WeakMap<TextConfig, Float32Array>();

function textFrequencies(text: TextConfig): Float32Array {
  let frequencies = known.get(text);
  if (!frequencies) {
    frequencies = inverseFrequencies(text.rotarySize ?? text.headSize, text.ropeTheta);
    if (text.ropeScaling) frequencies = scaleFrequencies(frequencies, text.ropeScaling);
    known.set(text, frequencies);
  }
  return frequencies;
}

/**
 * The axis (0 time, 1 height, 2 width) that each of so many frequencies turns with, by `mrope_section`: the first s0 with
 * time, the next s1 with height, the next s2 with width, then with time again. Interleaved, every third one from 1 on
 * turns with height as long as there are 3 s1 of them, from 2 on with width likewise, all others with time.
 */
export function mropeAxes({ mropeSection: sections, mropeInterleaved }: TextConfig, count: number): readonly number[] {
  if (!mropeInterleaved) return sections.flatMap((size, i) => Array<number>(size).fill(i % 3));
  return Array.from({ length: count }, (_, k) => (k % 3 > 0 && k < 3 * (sections[k % 3] ?? 0) ? k % 3 : 0));
}

/**
 * Text: each frequency turns with the position on its axis (`mropeAxes`); where only some channels turn, those that do are
 * the first of each half.
 * @param positions three arrays [tokens] (time, height, width)
 * @param shape how the tokens are laid out, e.g. [B, S]
 * @returns cos, sin [...shape, 1, headSize]
 */
export function textRotation(
  positions: readonly [ArrayLike<number>, ArrayLike<number>, ArrayLike<number>],
  shape: readonly number[],
  { text }: ModelConfig,
  dtype: DType,
): Rotation {
  const frequencies = textFrequencies(text);
  const half = frequencies.length;
  const axis = mropeAxes(text, half);
  const tokens = positions[0].length;
  const angles = new Float32Array(tokens * half);
  for (let n = 0; n < tokens; n++) {
    for (let i = 0; i < half; i++) {
      angles[n * half + i] = (positions[axis[i] ?? 0]?.[n] ?? 0) * (frequencies[i] ?? 0);
    }
  }
  const still = (text.headSize - (text.rotarySize ?? text.headSize)) / 2;
  return rotation(angles, [...shape, 1, half], dtype, text.ropeScaling?.attentionFactor, still);
}
