/**
 * Measures every comparison with the reference and writes docs/parity.md.
 *
 *     make parity
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import path from 'node:path';

import { info } from '@visurf/torch';

import { loadModelConfig } from '../src/families/config.ts';
import type { Comparison } from '../src/testing/comparison.ts';
import { configurationNames, openConfiguration } from '../src/testing/configurations.ts';
import { compareInputFiles } from '../src/testing/parity-inputs.ts';
import { compareObjective } from '../src/testing/parity-objective.ts';
import { compareUpdates } from '../src/testing/parity-updates.ts';
import { compareAll } from '../src/testing/parity.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));

const rounded = (value: number): string =>
  value === 0 ? '0' : value >= 0.001 ? String(Number(value.toPrecision(2))) : value.toExponential(1);

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

const missed = ({ distance, tolerance }: Comparison): boolean => !(distance <= tolerance);
const shown = (each: Comparison): string => (missed(each) ? `**${rounded(each.distance)}**` : rounded(each.distance));

/** One row per subject, one column per configuration; where the tolerance is the reference's own, it stands beside. */
function configurationTable(measured: ReadonlyMap<string, readonly Comparison[]>): string {
  const [first = []] = [...measured.values()];
  const rows = first.map(({ subject, measure, tolerance }, i) => {
    const all = [...measured.values()].map((comparisons) => comparisons[i]!);
    const own = all.some((each) => each.tolerance !== tolerance);
    const cells = all.map((each) => (own ? `${shown(each)} of ${rounded(each.tolerance)}` : shown(each)));
    return [subject, measure, own ? "the reference's own" : rounded(tolerance), ...cells];
  });
  return table(['comparison', 'measure', 'tolerance', ...measured.keys()], rows);
}

function plainTable(comparisons: readonly Comparison[]): string {
  const rows = comparisons.map((each) => [each.subject, each.measure, rounded(each.tolerance), shown(each)]);
  return table(['comparison', 'measure', 'tolerance', 'distance'], rows);
}

function describe(name: string): string[] {
  const { model } = openConfiguration(name);
  const { family, vision, text } = loadModelConfig(model);
  const full = [...vision.fullAttentionBlocks];
  const { deepstack, positionSide: side } = vision;
  const windows =
    vision.windowSize < Infinity
      ? `windows of ${vision.windowSize} px; whole frames in ${full.length > 0 ? `block ${full.join(', ')}` : 'no block'} of ${vision.depth}`
      : side === undefined
        ? 'whole frames'
        : deepstack
          ? `${side} x ${side} positions; ${deepstack.length > 0 ? `DeepStack from block ${deepstack.join(', ')} of ${vision.depth}` : 'no DeepStack'}`
          : `tiles; ${side} x ${side} positions; joined by ${vision.spatialMergeSize}`;
  return [
    name,
    family.title,
    `${text.heads} / ${text.keyValueHeads}`,
    windows,
    text.tiedHead ? 'yes' : 'no',
    `[${text.mropeSection.join(', ')}]`,
    text.rmsNormEps.toExponential(),
  ];
}

const requirements = readFileSync(path.join(root, 'oracle/requirements.txt'), 'utf8');
const version = (name: string): string => new RegExp(`^${name}==(.*)$`, 'm').exec(requirements)?.[1] ?? 'unknown';

const measured = new Map<string, Comparison[]>();
for (const name of configurationNames) {
  process.stderr.write(`${name}\n`);
  measured.set(name, await compareAll(openConfiguration(name)));
}
const updates: Comparison[] = [];
for (const dtype of ['float64', 'float32'] as const) {
  for (const name of ['sgd', 'adamw'] as const) updates.push(...(await compareUpdates(name, dtype)));
}
const inputs = await compareInputFiles();
const training = [...compareObjective(), ...updates];

const mistakesOf = (name: string): number =>
  Object.keys(
    JSON.parse(readFileSync(path.join(root, `oracle/fixtures/configurations/${name}/mutants.json`), 'utf8')) as object,
  ).length;
const { version: torch, cpuCapability } = info();
const text = `# Parity with the reference

Made by \`make parity\`; the same comparisons are tests (\`make test\`). The reference is transformers ${version('transformers')} on PyTorch ${version('torch')}; its
numbers are committed under \`oracle/fixtures/\` with the scripts that made them. Measured here with libtorch ${torch} (${cpuCapability}), one
thread, on ${cpus()[0]?.model.trim() ?? 'an unknown processor'} (${availableParallelism()} threads).

Distances are the largest over all elements: absolute, or relative to the largest element of the tensor. \`differences\` are
counted, and none is allowed. A distance in bold misses its tolerance.

## Model

Small random checkpoints of every family, each written in one of the layouts that published files have, loaded by the
reference and by us: \`hub\` (\`rope_scaling\`, \`preprocessor_config.json\`, \`chat_template.json\`, bfloat16 or sharded files; the
config is flat, but Qwen3-VL's), \`nested\` (\`text_config\`, keys as in memory, defaults left out) and \`v5\` (\`rope_parameters\`,
\`processor_config.json\`; of Qwen3-VL a Thinking model). Five conversations each: one image; three images of different shapes in several turns; text alone; a video of five frames; two
videos and an image. Two responses of different lengths each.

${table(['checkpoint', 'family', 'query / key heads', 'tower', 'tied head', 'M-RoPE sections', 'norm eps'], configurationNames.map(describe))}

${configurationTable(measured)}

The tolerance of bfloat16 is how far the reference's own bfloat16 is from its float32 on the same log-probabilities, and
half more for the largest, which is chance, and another one on every kind of processor. With the stream in it, too
(\`stream: bfloat16\`), what is rounded is what the reference rounds: a quarter more of the root mean square is allowed.

Those of SmolVLM2 are \`hub\` (as published: what the classes know is left out), \`odd\` (tiles that patches do not fill; names of tiles
without tokens of their own), \`v5\` and \`whole\` (one tile; a file that says little); four conversations each, without videos. So are
those of InternVL: \`hub\` (InternVL3: Qwen2's decoder, names of tensors of older files), \`v5\` (3.5: Qwen3's) and \`whole\` (one tile,
the norms of the largest tower); and the one of Idefics3, with Llama 3.1's frequencies.

\`oracle/check_variations.py\` (part of \`make oracle\`) draws random checkpoints of every family in other layouts, where chat templates,
settings of the processor, special tokens, limits of area and scalings of rotary embeddings stand elsewhere or are others, and compares what \`inspect\`, \`score\` and
\`generate\` print with transformers: eight of each family (seeds 100 to 107) agree.

Of Qwen3-VL the reference also computes what it would with each of ${mistakesOf('qwen3_vl-hub')} mistakes (\`oracle/mutants.py\`): no positions or those of
another order, DeepStack absent or elsewhere, norms left out or misplaced, sections of M-RoPE in a row, and others. Of SmolVLM2 with each of ${mistakesOf('smolvlm-hub')}
(\`oracle/smolvlm_mutants.py\`): places of patches, the order of the pixel shuffle and of tiles, bicubic in place of Lanczos, line
breaks, the thumbnail, the rotary base; of Idefics3 with these and its frequencies (${mistakesOf('idefics3-hub')}); of InternVL with each of
${mistakesOf('internvl-hub')} (\`oracle/internvl_mutants.py\`): the tower's norms, scales and class token, tiles that see each other, grids, where the thumbnail comes
from, norms of queries and keys. Of every one a fixture shows log-probabilities farther from ours than five times the tolerance.
Of Qwen3.5 our own sources are
changed by each of 30 mistakes (\`families/qwen3_5/mutants.test.ts\`): its norms, its gates, the order of heads, taps and decays, what is
rounded, states and padding at the fork, gradients that are cut. With every one a fixture misses its tolerance.

## Text and images

${plainTable(inputs)}

The strings hold all scripts, emoji, control characters, spaces, numbers, code, and look-alikes of special tokens, which
are text wherever a user writes them. The image files are PNG (grey, palette, one bit, with transparency), JPEG (all
subsamplings, progressive, CMYK, rotated by EXIF), WebP, GIF and TIFF, and shapes from 2 x 3 to 150 : 1.

## Training

${plainTable(training)}

## Where we differ on purpose

- Transparency is composited on white, EXIF rotation is applied, 16-bit images keep their high bytes (Pillow clips grey ones), an
  animation gives its first frame.
- Special tokens inside messages are text (\`split_special_tokens=True\`).
- \`generation_config.json\` gives stop tokens, nothing else: sampling is what the command line or the config says.
- Sampling never draws vision or padding tokens; greedy decoding may.
- A video is given as its frames, with \`fps\` (24 if unsaid, as in the reference); a response continues behind the last token of the
  prompt, as in transformers 5 (4.x: behind the largest position, which a long video may hold).
- Rotary embeddings may be scaled by \`linear\`, \`yarn\` and \`llama3\`; by \`dynamic\` up to the length from which on it depends on the
  prompt. \`longrope\` is refused, and so are sequences longer than the decoder's sliding window, where \`config.json\` switches one on.
- Videos of Qwen3-VL and Qwen3.5 whose settings are missing, or say no \`size\`: limits are those of images, then \`min_pixels\` and
  \`max_pixels\`, then those of published files; the reference takes its class's, or resizes frames one by one as Qwen2-VL does.
- A processor with other patches than the model's, images with a side of one pixel, and kinds of resizing other than bicubic are
  refused.
`;
writeFileSync(path.join(root, 'docs/parity.md'), text);
const failures = [...measured.values(), inputs, training].flat().filter(missed);
for (const { subject, distance, tolerance } of failures) {
  process.stderr.write(`${subject}: ${distance} is more than ${tolerance}\n`);
}
process.exitCode = failures.length > 0 ? 1 : 0;
