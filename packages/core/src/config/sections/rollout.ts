/** Keys of the sampling. */
import { z } from 'zod';
import { everyParadigm, key, section } from '../facts.ts';
import { positive, count, whole, flag, samples, alike } from './kinds.ts';

export const rollout = section(
  {
    group: key('responses per prompt, G', count.default(8)),
    temperature: key('of the sampling', positive.default(1)),
    topP: key('nucleus; 1 keeps all tokens', positive.max(1).default(1)),
    topK: key('most likely tokens kept; 0 keeps all', whole.default(0)),
    repetitionPenalty: key('logits of tokens that were said are divided by it; 1: none', positive.default(1)),
    // Evaluation has it for its default.
    maxNewTokens: key('longer responses are cut off; also the default of evaluation', count.default(512), {
      users: everyParadigm,
    }),
    dynamicSampling: key(
      'batches of prompts that a step samples at most, until it is full of groups whose rewards ' +
        'differ; 1: groups as they come',
      count.default(1),
      { users: alike },
    ),
    allowTruncatedSampling: key(
      "train from other sampling than the defaults, which the loss then takes for the policy's own",
      flag.default(false),
    ),
    backend: key(
      'who samples: this program (`local`), or servers of `vllm` or `sglang`, which get the weights of every step ' +
        '([servers.md](servers.md))',
      z.enum(['local', 'vllm', 'sglang']).default('local'),
    ),
    servers: key('their addresses, such as `http://127.0.0.1:8000`', z.array(z.string()).default([]), {
      effect: 'harmless',
      unset: 'none',
    }),
    serverCommand: key(
      'a command that starts them, which ends with the run; what it says is in `server.log` of the run',
      z.string().min(1).optional(),
      { effect: 'harmless', unset: 'they run already' },
    ),
    serverFolder: key(
      'a folder that servers see under the same path, for the weights of a step',
      z.string().optional(),
      { path: 'file', effect: 'harmless', unset: '`weights` in the run directory' },
    ),
    timeout: key(
      'seconds that an answer of a server may take, and that it may be away',
      positive.max(86_400).default(600),
      {
        effect: 'harmless',
      },
    ),
    concurrent: key('prompts that a server is sent at once', count.default(64), { effect: 'harmless' }),
    ahead: key(
      'steps that rollouts are sampled ahead of the weights: `0`, or `1`, where those of the next step are sampled while ' +
        'this one is learned from',
      z.literal([0, 1]).default(0),
    ),
    correction: key(
      'of rollouts by servers, or ahead: their terms are weighted by pi / mu, at most the cap (`truncate`), or responses ' +
        'whose pi / mu lies outside of 1 / cap .. cap leave the loss (`mask`), or nothing is done (`none`)',
      z.enum(['truncate', 'mask', 'none']).default('truncate'),
    ),
    cap: key('the largest pi / mu that counts in full', z.number().gt(1).default(3)),
  },
  { users: samples },
).prefault({});
