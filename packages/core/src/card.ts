/** The page of a published model: what it is made of, what it was taught, and how well it does. No path of this machine. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { stringify } from 'yaml';
import { parseValue } from './config/yaml.ts';
import { stepName } from './run/checkpoint.ts';
import { readEvents, type EvalEvent } from './run/events.ts';
import type { Exported } from './export/export.ts';
import { readText } from './regular.ts';

export interface CardFacts {
  /** `owner/name` that it is published as. */
  readonly id: string;
  readonly kind: Exported['kind'];
  /** Directory that the weights came from: a checkpoint of a run, or any other. */
  readonly checkpoint: string;
  /** Of the base on the hub, where it came from there. */
  readonly base: string | undefined;
  readonly license: string | undefined;
  readonly task: string | undefined;
  readonly version: string;
}

/** The run that a checkpoint belongs to; undefined where it belongs to none. */
function runOf(checkpoint: string): { readonly directory: string; readonly step: number } | undefined {
  const [folder, name] = [path.dirname(checkpoint), path.basename(checkpoint)];
  const directory = path.dirname(folder);
  const isCheckpoint = /^\d{6,}$/.test(name) && existsSync(path.join(directory, 'config.yaml'));
  return isCheckpoint && stepName(Number(name)) === name ? { directory, step: Number(name) } : undefined;
}

interface Trained {
  readonly paradigm?: unknown;
  readonly seed?: unknown;
  readonly promptsPerStep?: unknown;
  readonly data?: { readonly train?: unknown; readonly validation?: unknown };
  readonly rollout?: { readonly group?: unknown };
  readonly train?: { readonly lora?: { readonly rank?: unknown } | null };
}

/** Names of files of data, without their folders. */
function namesOf(data: unknown): string[] {
  const files: readonly unknown[] = Array.isArray(data) ? data : [data];
  return files.flatMap((each) => {
    const file = typeof each === 'object' && each !== null && 'file' in each ? each.file : each;
    return typeof file === 'string' ? [path.basename(file)] : [];
  });
}

function training(directory: string, step: number): string {
  const file = path.join(directory, 'config.yaml');
  const config = (parseValue(readText(file), file) ?? {}) as Trained;
  const { paradigm, seed, promptsPerStep, data, rollout, train } = config;
  const rank = train?.lora?.rank;
  const rows: [string, unknown][] = [
    ['paradigm', paradigm],
    ['steps', step],
    ['prompts a step', promptsPerStep],
    ['rollouts a prompt', rollout?.group],
    ['weights', rank === undefined ? 'all that were trained' : `LoRA of rank ${Number(rank)}`],
    ['data', namesOf(data?.train).join(', ')],
    ['validation', namesOf(data?.validation).join(', ')],
    ['seed', seed],
  ];
  const shown = rows.filter(([, value]) => value !== undefined && value !== '');
  return `## Training\n\n| | |\n|---|---|\n${shown.map(([name, value]) => `| ${name} | ${typeof value === 'string' ? value : JSON.stringify(value)} |`).join('\n')}\n`;
}

/** The evaluation of this step; undefined where there was none. */
function evaluation(directory: string, step: number): EvalEvent | undefined {
  const events = readEvents(path.join(directory, 'events.jsonl'));
  return events.findLast((event): event is EvalEvent => event.type === 'eval' && event.step === step);
}

function metrics({ metrics: measured, n }: EvalEvent): string {
  const rows = Object.entries(measured).map(([name, value]) => `| ${name} | ${Number(value.toPrecision(4))} |`);
  return `## Metrics\n\nOf ${n} samples for validation, in percent but for the reward.\n\n| metric | value |\n|---|---|\n${rows.join('\n')}\n`;
}

export function modelCard({ id, kind, checkpoint, base, license, task, version }: CardFacts): string {
  const run = runOf(checkpoint);
  const evaluated = run && evaluation(run.directory, run.step);
  const front = {
    ...(base !== undefined && { base_model: base, base_model_relation: kind === 'adapter' ? 'adapter' : 'finetune' }),
    ...(license !== undefined && { license }),
    library_name: kind === 'adapter' ? 'peft' : 'transformers',
    pipeline_tag: 'image-text-to-text',
    tags: ['visurf', ...(task === undefined ? [] : [task])],
  };
  const what = kind === 'adapter' ? 'A LoRA adapter' : 'A vision-language model';
  const parts = [
    `# ${id.split('/')[1]!}\n\n${what}${base === undefined ? '' : ` of ${base}`}, trained with visurf ${version}.\n`,
    `## Use\n\n\`\`\`sh\nvisurf predict --model ${id} --image street.jpg --problem "the red car"\n\`\`\`\n\n` +
      'It is asked as it was trained, and answers in pixels of the picture. ' +
      `${kind === 'adapter' ? 'PEFT opens it, too.' : 'transformers and vLLM open it, too.'}\n`,
    ...(run ? [training(run.directory, run.step)] : []),
    ...(evaluated ? [metrics(evaluated)] : []),
  ];
  return `---\n${stringify(front)}---\n\n${parts.join('\n')}`;
}
