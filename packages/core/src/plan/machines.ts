/** Machines with a card that a run can be planned for, by name or from a file. */
import { parse } from 'yaml';
import { z } from 'zod';

import type { Precision } from '../model/projection.ts';
import { fileError, messageOf, nearest, UserError } from '../errors.ts';
import { readText } from '../regular.ts';

/** No machine is beyond; what it would make of a plan is no number. */
const positive = z.number().min(1e-6).max(1e9);

const schema = z.strictObject({
  /** Of the card, in GB. */
  memory: positive,
  host: z.strictObject({ memory: positive }).default({ memory: 128 }),
  /** Of the card's memory, in GB/s. */
  bandwidth: positive,
  /** Of products, dense, in TFLOP/s. */
  bfloat16: positive,
  float32: positive,
  /** A 64th of float32 on cards that are not made for it. */
  float64: positive.optional(),
  /** Of one kernel, in microseconds. */
  launch: positive.default(3),
  /** Between cards of one node, in GB/s and one direction; of PCIe 4 unless said. */
  link: positive.default(25),
  /** Of a card for an hour. */
  price: positive.optional(),
});

/** As their makers state them; prices are round numbers in US dollars, assumed, for who has none of their own. */
const known: Readonly<Record<string, z.input<typeof schema>>> = {
  b200: { memory: 180, bandwidth: 8000, bfloat16: 2250, float32: 75, float64: 37, link: 900, price: 5 },
  h200: { memory: 141, bandwidth: 4800, bfloat16: 989, float32: 67, float64: 67, link: 450, price: 3.5 },
  h100: { memory: 80, bandwidth: 3350, bfloat16: 989, float32: 67, float64: 67, link: 450, price: 2.5 },
  'a100-80': { memory: 80, bandwidth: 2039, bfloat16: 312, float32: 19.5, float64: 19.5, link: 300, price: 1.6 },
  'a100-40': { memory: 40, bandwidth: 1555, bfloat16: 312, float32: 19.5, float64: 19.5, link: 300, price: 1.2 },
  l40s: { memory: 48, bandwidth: 864, bfloat16: 362, float32: 91.6, price: 0.9 },
  l4: { memory: 24, bandwidth: 300, bfloat16: 121, float32: 30.3, price: 0.6 },
  a10: { memory: 24, bandwidth: 600, bfloat16: 125, float32: 31.2, price: 0.6 },
  rtx5090: { memory: 32, bandwidth: 1792, bfloat16: 209, float32: 105, link: 50, price: 0.7 },
  rtx4090: { memory: 24, bandwidth: 1008, bfloat16: 165, float32: 82.6, price: 0.4 },
  rtx3090: { memory: 24, bandwidth: 936, bfloat16: 71, float32: 35.6, price: 0.25 },
};

export const machineNames: readonly string[] = Object.keys(known);

/** In bytes, operations and seconds. */
export interface CardMachine {
  readonly name: string;
  readonly memory: number;
  readonly hostMemory: number;
  readonly bandwidth: number;
  readonly rates: Readonly<Record<Precision, number>>;
  readonly launch: number;
  readonly link: number;
  readonly price: number | undefined;
}

function machineOf(name: string, values: z.output<typeof schema>): CardMachine {
  const { memory, host, bandwidth, bfloat16, float32, float64 = float32 / 64, launch, link, price } = values;
  const rates = { bfloat16: bfloat16 * 1e12, float32: float32 * 1e12, float64: float64 * 1e12 };
  const bytes = { memory: memory * 1e9, hostMemory: host.memory * 1e9, bandwidth: bandwidth * 1e9 };
  return { name, ...bytes, rates, launch: launch / 1e6, link: link * 1e9, price };
}

/**
 * @param name of a known machine, or a YAML file
 * @throws UserError for neither, and for a file that does not say what is needed
 */
export function findMachine(name: string): CardMachine {
  if (Object.hasOwn(known, name)) return machineOf(name, schema.parse(known[name]));
  if (!/\.(ya?ml|json)$/.test(name)) {
    const sizes = machineNames.filter((each) => each.startsWith(`${name.trim().toLowerCase()}-`));
    const close = sizes.length > 0 ? sizes.join(' or ') : nearest(name, machineNames);
    throw new UserError(`${JSON.stringify(name)} is no machine that is known here`, {
      where: '--machine',
      remedy: `${close ? `Did you mean ${close}? ` : ''}Known are ${machineNames.join(', ')}; others are described in a file: --machine FILE.yaml`,
    });
  }
  const read = schema.safeParse(readYaml(name));
  if (read.success) return machineOf(name, read.data);
  const [issue] = read.error.issues;
  throw new UserError(
    `${issue?.path.length ? issue.path.join('.') : 'the file'}: ${issue?.message ?? 'cannot be used'}`,
    {
      where: name,
      remedy:
        'A machine has memory and host.memory in GB, bandwidth in GB/s, bfloat16 and float32 (and float64) in TFLOP/s, launch in microseconds, link between cards in GB/s, price of a card per hour.',
    },
  );
}

function readYaml(file: string): unknown {
  try {
    return parse(readText(file));
  } catch (error) {
    const mended = fileError(error, { where: file, remedy: 'Give a file that can be read.' });
    if (mended instanceof UserError) throw mended;
    throw new UserError(`this is no YAML: ${messageOf(error)}`, { where: file, remedy: 'Mend the file.' });
  }
}

/** The known machine whose card a driver calls so, such as "NVIDIA H100 80GB HBM3". */
export function machineOfCard(card: string, memory: number): CardMachine | undefined {
  const plain = card.toLowerCase().replace(/[^a-z0-9]/g, '');
  const candidates = machineNames.filter((name) => plain.includes(name.split('-')[0]!));
  const fitting = candidates.sort(
    (a, b) => Math.abs(known[a]!.memory * 1e9 - memory) - Math.abs(known[b]!.memory * 1e9 - memory),
  );
  // "l4" is a part of "l40s": the longest name of equal distance is meant.
  const longest = fitting.filter((name) => !fitting.some((other) => other !== name && other.startsWith(name)));
  return longest[0] === undefined ? undefined : findMachine(longest[0]);
}
