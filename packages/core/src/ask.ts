/** Every sample asked once, before anything is trained or judged: what cannot be used comes in one list. */
import { UserError } from './errors.ts';
import { ask, type Asking, type Question } from './step.ts';
import type { Sample } from './types.ts';

const shown = 20;

/** Questions without their patches, so that a whole dataset fits into memory. */
export async function askAll(asking: Asking, samples: readonly Sample[]): Promise<Question[]> {
  const questions: Question[] = [];
  const faults: UserError[] = [];
  for (const sample of samples) {
    try {
      const question = await ask(asking, sample);
      questions.push({ ...question, prompt: { ...question.prompt, pixelValues: undefined } });
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      faults.push(error);
    }
  }
  if (faults.length === 0) return questions;
  const lines = faults.slice(0, shown).map(({ where, reason }) => `${where ?? 'unknown place'}: ${reason}`);
  const more = faults.length > shown ? `\n... and ${faults.length - shown} more` : '';
  throw new UserError(`${faults.length} of ${samples.length} samples cannot be used:\n${lines.join('\n')}${more}`, {
    remedy: faults[0]?.remedy,
  });
}
