/** What doctor says of cards: those that are there, and what keeps libtorch from them. */
import { expect, test } from 'vitest';

import { describeCards } from './doctor.ts';

const card = { name: 'NVIDIA L4', memory: 24e9, capability: '8.9' };
const [built, working] = [
  { cuda: true, cudaDevices: 0 },
  { cuda: true, cudaDevices: 1 },
];
const forCpu = { cuda: false, cudaDevices: 0 };

test.each([
  ['no card, a libtorch for the CPU', forCpu, { cards: [] }, /^none$/],
  ['a CUDA build without a driver', built, { cards: [] }, /built for CUDA, but there is no driver/],
  [
    'a driver that does not start',
    built,
    { driver: 12020, problem: 'unknown error', cards: [] },
    /CUDA 12.2, but says: unknown error/,
  ],
  ['a driver without cards', built, { driver: 13000, cards: [] }, /CUDA 13.0, but finds no card/],
  [
    'a driver that is too old',
    built,
    { driver: 11080, cards: [card] },
    /NVIDIA L4.*\n.*cannot use it: the driver serves CUDA 11.8/,
  ],
  [
    'a libtorch for the CPU beside a card',
    forCpu,
    { driver: 13000, cards: [card] },
    /NVIDIA L4.*\n.*built for the CPU alone/,
  ],
  [
    'a card that works',
    working,
    { driver: 13000, cards: [card] },
    /^cuda:0: NVIDIA L4, 24.0 GB, capability 8.9\nthe driver serves CUDA 13.0$/,
  ],
] as const)('%s', (_, torch, cards, said) => expect(describeCards(torch, cards).join('\n')).toMatch(said));
