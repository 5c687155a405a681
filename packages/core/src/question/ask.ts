/** A sample becomes what the model is asked and what the answer is compared with. */
import type { Frames } from '../data/images.ts';
import { UserError } from '../errors.ts';
import { scorerOf, type Scorer, type Subject } from '../reward/reward.ts';
import type { Task } from '../tasks/task.ts';
import { fillTemplate, templateFault } from '../tasks/template.ts';
import type { PromptEncoder } from '../prompt/encoder.ts';
import type { Frame, Prompt, Sample } from '../types.ts';

/** A sample with its prompt and its parsed label. */
export interface Question extends Subject {
  readonly prompt: Prompt;
}

/** The eyes of a policy. */
export interface Encodes {
  readonly encoder: Pick<PromptEncoder, 'encode'>;
}

/** The same, where sizes of images are enough. */
export interface Measures {
  readonly encoder: Pick<PromptEncoder, 'measure'>;
}

/** What asks a question: the policy's eyes, the sample's task, and a prompt template in place of the task's own. */
export interface Asking {
  readonly policy: Encodes;
  readonly scorer: Scorer;
  readonly prompt?: string | undefined;
  readonly system?: string | undefined;
}

interface Asked {
  readonly task: Task;
  readonly input: Parameters<PromptEncoder['measure']>[0];
  /** For messages. */
  readonly where: string;
}

/** A sample may bring its own template in its field `prompt`; that of the experiment wins. */
function asked({ scorer, prompt: template, system }: Omit<Asking, 'policy'>, sample: Sample): Asked {
  const { task } = scorerOf(scorer, sample);
  const { prompt: own } = sample.extra;
  const chosen = template ?? (typeof own === 'string' ? own : task.template);
  const variables = task.variables(sample.problem);
  const fault = chosen === own ? templateFault(chosen, Object.keys(variables)) : undefined;
  if (fault !== undefined) throw new UserError(fault, { where: placeOf(sample) });
  const problem = fillTemplate(chosen, variables);
  const where = placeOf(sample);
  return { task, where, input: { problem, images: sample.images, videos: sample.videos, system, places: true } };
}

const placeOf = ({ id, source: { file, line } }: Sample): string => `${file}:${line} (${id})`;

export async function ask({ policy, ...asking }: Asking, sample: Sample): Promise<Question> {
  const { task, input, where } = asked(asking, sample);
  const prompt = await policy.encoder.encode(input, where);
  return { sample, prompt, frames: prompt.frames, truth: task.parseTruth(sample, prompt.frames) };
}

/**
 * What asking would find, from the sizes of the images alone: nothing is decoded and nothing encoded that need not be.
 * @throws UserError as `ask` does
 */
export function weigh(
  { policy, ...asking }: Omit<Asking, 'policy'> & { readonly policy: Measures },
  sample: Sample,
  sizes: Frames,
): Subject {
  const { task, input, where } = asked(asking, sample);
  const sizeOf = (file: string): Frame => {
    const frame = sizes.get(file);
    if (!frame) throw new UserError(`image was not looked at: ${file}`, { where });
    return frame;
  };
  const frames = policy.encoder.measure(input, sizeOf, where);
  return { sample, frames, truth: task.parseTruth(sample, frames) };
}
