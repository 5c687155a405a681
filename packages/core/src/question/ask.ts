/** A sample becomes what the model is asked and what the answer is compared with. */
import { UserError } from '../errors.ts';
import { scorerOf, type Scorer, type Subject } from '../reward/reward.ts';
import { fillTemplate } from '../tasks/template.ts';
import type { PromptEncoder } from '../prompt/encoder.ts';
import type { Prompt, Sample } from '../types.ts';

/** A sample with its prompt and its parsed label. */
export interface Question extends Subject {
  readonly prompt: Prompt;
}

/** The eyes of a policy. */
export interface Encodes {
  readonly encoder: Pick<PromptEncoder, 'encode'>;
}

/** What asks a question: the policy's eyes, the sample's task, and a prompt template in place of the task's own. */
export interface Asking {
  readonly policy: Encodes;
  readonly scorer: Scorer;
  readonly prompt?: string | undefined;
  readonly system?: string | undefined;
}

/** A sample may bring its own template in its field `prompt`; that of the experiment wins. */
export async function ask({ policy, scorer, prompt: template, system }: Asking, sample: Sample): Promise<Question> {
  const { task } = scorerOf(scorer, sample);
  const where = `${sample.source.file}:${sample.source.line} (${sample.id})`;
  const { prompt: own } = sample.extra;
  const chosen = template ?? (typeof own === 'string' ? own : task.template);
  const problem = fillTemplate(chosen, task.variables(sample.problem));
  const prompt = await policy.encoder.encode({ problem, images: sample.images, system, places: true }, where);
  return { sample, prompt, frames: prompt.frames, truth: task.parseTruth(sample, prompt.frames) };
}

const shown = 20;

/**
 * Every sample asked once, before anything is trained or judged: what cannot be used comes in one list.
 * @returns questions without their patches, so that a whole dataset fits into memory
 */
export async function askAll(
  samples: readonly Sample[],
  asked: (sample: Sample) => Promise<Question>,
  onProgress: (done: number, total: number) => void = () => undefined,
): Promise<Question[]> {
  const questions: Question[] = [];
  const faults: UserError[] = [];
  for (const sample of samples) {
    try {
      const question = await asked(sample);
      questions.push({ ...question, prompt: { ...question.prompt, pixelValues: undefined } });
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      faults.push(error);
    }
    onProgress(questions.length + faults.length, samples.length);
  }
  if (faults.length === 0) return questions;
  const lines = faults.slice(0, shown).map(({ where, reason }) => `${where ?? 'unknown place'}: ${reason}`);
  const more = faults.length > shown ? `\n... and ${faults.length - shown} more` : '';
  throw new UserError(`${faults.length} of ${samples.length} samples cannot be used:\n${lines.join('\n')}${more}`, {
    remedy: faults[0]?.remedy,
  });
}
