/**
 * Mistakes that an implementation of this family can make (most of them quiet ones) are each caught by a fixture: the
 * folder's sources, with one change, no longer give the numbers of the reference.
 */
import { readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';
import { compileFunction } from 'node:vm';

import * as torch from '@visurf/torch';
import { expect, test } from 'vitest';

import * as attention from '../../model/attention.ts';
import type { ModelConfig, TextConfig } from '../../model/config.ts';
import * as decoder from '../../model/decoder.ts';
import * as layerState from '../../model/layer-state.ts';
import * as projection from '../../model/projection.ts';
import { VisionLanguageModel } from '../../model/vlm.ts';
import * as rope from '../../model/rope.ts';
import * as sharedDecoding from '../../model/shared-decoding.ts';
import { openConfiguration } from '../../testing/configurations.ts';
import { compareBatch, compareGradients, openSubject } from '../../testing/parity.ts';
import { loadModel } from '../load.ts';
import type { Family } from '../index.ts';

/** Sources by the order in which they import each other. */
const files = ['norm.ts', 'delta-net.ts', 'attention.ts', 'layer.ts'] as const;
const shared: Record<string, object> = {
  '@visurf/torch': torch,
  '../../model/attention.ts': attention,
  '../../model/decoder.ts': decoder,
  '../../model/layer-state.ts': layerState,
  '../../model/projection.ts': projection,
  '../../model/rope.ts': rope,
  '../../model/shared-decoding.ts': sharedDecoding,
};

type Change = readonly [file: (typeof files)[number], from: string, to: string];

/** What the folder's sources export after the changes. */
function sources(changes: readonly Change[]): Record<string, never> {
  const modules: Record<string, Record<string, never>> = { ...(shared as Record<string, Record<string, never>>) };
  let all: Record<string, never> = {};
  for (const file of files) {
    let source = readFileSync(join(import.meta.dirname, file), 'utf8');
    for (const [changed, from, to] of changes) {
      if (changed !== file) continue;
      expect(source.split(from), `${file}: ${from}`).toHaveLength(2);
      source = source.replace(from, () => to);
    }
    const names = [...source.matchAll(/^export (?:abstract )?(?:class|const|function) (\w+)/gm)].map(
      ([, name]) => name!,
    );
    const code = stripTypeScriptTypes(source)
      .replaceAll(/^import \{([^}]*)\} from '([^']+)';$/gm, (_, list: string, from: string) =>
        list.trim() === '' ? '' : `const {${list}} = modules['${from}'];`,
      )
      .replaceAll(/^export /gm, '');
    const run = compileFunction(`${code}\nreturn { ${names.join(', ')} };`, ['modules']) as (
      given: object,
    ) => typeof all;
    const made = run(modules);
    modules[`./${file}`] = made;
    all = { ...all, ...made };
  }
  return all;
}

const configurations = ['qwen3_5-hub', 'qwen3_5-v5', 'qwen3_5-old'];
const subjects = await Promise.all(configurations.map((name) => openSubject(openConfiguration(name))));
const models = subjects.map(({ configuration }) => loadModel(configuration.model));

interface Mutant {
  readonly changes?: readonly Change[];
  readonly text?: (config: TextConfig) => TextConfig;
}

/** The model of a fixture with a mistake in it. */
function mutated(model: VisionLanguageModel, { changes = [], text = (config) => config }: Mutant): VisionLanguageModel {
  type Made = Record<'LinearLayer' | 'FullLayer', new (config: TextConfig) => decoder.DecoderBlock> & {
    OffsetNorm: new (width: number, eps: number) => torch.nn.RMSNorm;
  };
  const made = sources(changes) as unknown as Made;
  const family: Family = {
    ...model.config.family,
    layer: (config, i) => new (config.recurrent?.layers[i] ? made.LinearLayer : made.FullLayer)(config),
    norm: (width, eps) => new made.OffsetNorm(width, eps),
  };
  const config: ModelConfig = { ...model.config, family, text: text(model.config.text) };
  const other = torch.nn.outline(() => new VisionLanguageModel(config));
  const weights = model.namedParameters();
  other.replaceParameters((key) => weights.get(key)!.detach().clone());
  return other;
}

/** Whether a fixture misses its tolerance. */
function isCaught(mutant: Mutant): boolean {
  return subjects.some((subject, i) => {
    const model = mutated(models[i]!, mutant);
    const all = [...compareBatch(subject, model, 'float32'), ...compareGradients(subject, model, 'float32')];
    model.dispose();
    return all.some(({ distance, tolerance }) => !(distance <= tolerance));
  });
}

const rounded = `.to('bfloat16').to('float32')`;
const net = (from: string, to: string): Mutant => ({ changes: [['delta-net.ts', from, to]] });
const full = (from: string, to: string): Mutant => ({ changes: [['attention.ts', from, to]] });

const mutants: Record<string, Mutant> = {
  'w for 1 + w': { changes: [['norm.ts', 'this.weight.add(1)', 'this.weight']] },
  '1 + w in the gated norm': net(
    'this.norm.forward(asked(out))',
    'functional.rmsNorm(asked(out), this.norm.weight.add(1), this.norm.eps)',
  ),
  'gate before the norm': net(
    'functional.swiglu(gate.contiguous(), normed)',
    'this.norm.forward(functional.swiglu(gate.contiguous(), asked(out)))',
  ),
  'sigmoid for silu in the gate of the norm': net(
    'functional.swiglu(gate.contiguous(), normed)',
    'gate.sigmoid().mul(normed)',
  ),
  'taps in reverse': net('squeeze(1).unbind(1)', 'squeeze(1).flip(1).unbind(1)'),
  'no silu behind the convolution': net('first![0].mul(first![1])).silu()', 'first![0].mul(first![1]))'),
  'queries for keys': net('const [q, k, v] = mixed.split(', 'const [k, q, v] = mixed.split('),
  'key heads tiled': net(
    'return { q: unit(q).mul(keySize ** -0.5), k: unit(k),',
    `const tiled = (x) => cat(Array.from({ length: valueHeads / keyHeads }, () => x), 2);
    return { q: tiled(unit(q).mul(keySize ** -0.5)), k: tiled(unit(k)),`,
  ),
  'a for b': net('const [mixed, z, b, a] =', 'const [mixed, z, a, b] ='),
  'decay after the write': net(
    'functional.deltaRule(input, before?.sums)',
    `(() => {
      const late = cat([zeros([rows, 1, g.size(2)], { dtype: g.dtype }), g.narrow(1, 0, tokens - 1)], 1);
      const [read, left] = functional.deltaRule({ ...input, g: late }, before?.sums);
      return [read.mul(g.exp().unsqueeze(-1)), left];
    })()`,
  ),
  'no root of the head size': net('unit(q).mul(keySize ** -0.5)', 'unit(q)'),
  'no unit length': net('heads.mul(heads.square().sum(-1, true).add(lengthEps).rsqrt())', 'heads'),
  'decay as its product': net('this.A_log.exp()', 'this.A_log'),
  'rounded A_log': net('this.A_log.exp()', `this.A_log${rounded}.exp()`),
  'rounded decay': net('step.mul(this.A_log.exp()).neg()', `step.mul(this.A_log.exp()).neg()${rounded}`),
  'state rounded at the fork': net('sums: state.sums.repeatInterleave', `sums: state.sums${rounded}.repeatInterleave`),
  'state without a gradient': net('sums: state.sums.repeatInterleave', 'sums: state.sums.detach().repeatInterleave'),
  'tail without a gradient': net('tail: state.tail.repeatInterleave', 'tail: state.tail.detach().repeatInterleave'),
  'responses without the tail': net('tail: state.tail.repeatInterleave', 'tail: state.tail.mul(0).repeatInterleave'),
  'tail of the padding': net('tail: tailOf(window, lengths, reach)', 'tail: tailOf(window, undefined, reach)'),
  'padding decays': net('g: onlyAt(ofPrompts(g), valid)', 'g: ofPrompts(g)'),
  'padding writes': net('beta: onlyAt(ofPrompts(beta), valid)', 'beta: ofPrompts(beta)'),
  'queries and gates of all heads apart': full(
    'split(asked!, heads).split([headSize, headSize], -1)',
    'asked!.to(x.dtype).view(asked!.size(0), asked!.size(1), 2, heads, headSize).unbind(2)',
  ),
  'silu for sigmoid in the gate of attention': full('gate.sigmoid()', 'gate.silu()'),
  'no gate of attention': full('.mul(gate.sigmoid())', ''),
  'norm of queries behind their rotation': {
    changes: [
      ['attention.ts', 'this.#ordered(this.q_norm.forward(query))', 'this.#ordered(query)'],
      [
        'attention.ts',
        'packedAttention([rotate(q, asked), k, v]',
        'packedAttention([functional.rmsNorm(rotate(q, asked), this.#ordered(this.q_norm.weight.add(1)), this.q_norm.eps), k, v]',
      ],
      ['attention.ts', 'import { cat, functional, nn,', 'import { cat, functional, nn,'],
    ],
  },
  'no norm of keys': full('this.k_norm.forward(split(keys!, keyValueHeads))', 'split(keys!, keyValueHeads)'),
  'rotation of whole heads': { text: ({ rotarySize: _, ...config }) => config },
  'sections in a row': { text: (config) => ({ ...config, mropeInterleaved: false }) },
  'another base of frequencies': { text: (config) => ({ ...config, ropeTheta: 2 * config.ropeTheta }) },
};

test('without a change the sources give the numbers of the reference', () => {
  expect(isCaught({})).toBe(false);
});

test.each(Object.entries(mutants))('%s', (_, mutant) => {
  expect(isCaught(mutant)).toBe(true);
});
