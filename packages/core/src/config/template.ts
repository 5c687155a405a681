/** The template of the user turn, as a configuration or an option gives it. */
import { UserError } from '../errors.ts';
import { located } from './mistakes.ts';
import { isTemplate } from './paths.ts';
import { readText } from './yaml.ts';

/**
 * A prompt template: the text itself where it has variables, else what the file of that name holds.
 * @param where names the option in messages
 * @throws UserError where neither has a variable
 */
export function promptTemplate(prompt: string, where: string): string {
  if (isTemplate(prompt)) return prompt;
  const remedy = 'A prompt is a text with {Question} in it, or a file that holds one.';
  const text = located(() => readText(prompt), where, remedy);
  if (!isTemplate(text)) throw new UserError(`${prompt} holds no variable such as {Question}`, { where, remedy });
  // Editors end a file with a line break that is no part of the prompt.
  return text.replace(/\r?\n$/, '');
}
