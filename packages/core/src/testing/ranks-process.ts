/** A process of ranks.ts. */
import { parseConfig } from '../config/load.ts';
import { joinProcesses } from '../distributed/join.ts';
import { defineReward } from '../reward/reward.ts';
import { train } from '../train.ts';
import type { Done, Order } from './ranks.ts';

/** Tells random answers from each other: some groups have an advantage, and some have none. */
const parity = defineReward({ name: 'parity', weight: 0.5, score: ({ text }) => text.length % 2 });

async function obey({ rank, size, port, values, resume, timeout = 600, stop, othersCode }: Order): Promise<Done> {
  try {
    const controller = new AbortController();
    const options = {
      ...{ resume: resume ?? false, signal: controller.signal, rewards: [parity], unplanned: true },
      onEvent: (event: { readonly kind: string; readonly step?: number }) => {
        if (event.kind === 'step' && stop?.rank === rank && event.step === stop.step) controller.abort();
      },
    };
    if (size === 1) return { result: await train(parseConfig(values), options) };
    await using processes = await joinProcesses({
      ...{ rank, size, host: '127.0.0.1', port, timeout },
      ...(rank > 0 && othersCode !== undefined && { terms: { visurf: othersCode } }),
    });
    return { result: await train(parseConfig(values), { ...options, processes }) };
  } catch (error) {
    const { name, message } = error as Error;
    return { error: { name, message } };
  }
}

process.on('message', (order: Order) => void obey(order).then((done) => process.send?.(done)));
