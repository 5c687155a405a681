/** Prompt templates: text with variables written `{Name}`; any other brace is text. */
import { editDistance, UserError } from '../errors.ts';

const VARIABLE = /\{([A-Z][A-Za-z]*)\}/g;

/**
 * What is wrong with a template: a variable that nearly is one (`{question}`, `{{Question}}`, `{ Question }`), which would be
 * text; undefined where nothing is.
 * @param known names of the task's variables
 */
export function templateFault(template: string, known: readonly string[]): string | undefined {
  if (template.trim() === '') return 'the prompt template is empty';
  for (const [written, open = '', inner = ''] of template.matchAll(/(?<!\{)(\{+)\s*([A-Za-z][\w\s-]*)\}+/g)) {
    const word = inner.toLowerCase().replaceAll(/[_\s-]/g, '');
    const meant = known.find((name) => name.toLowerCase() === word || isSlip(word, name.toLowerCase()));
    if (meant === undefined || (open === '{' && written === `{${meant}}`)) continue;
    return `the prompt template has ${written}, which is no variable and would be text: write {${meant}}`;
  }
  return undefined;
}

const isSlip = (word: string, name: string): boolean => name.length >= 5 && editDistance(word, name) <= 2;

/** Whether a template asks for anything of a sample. */
export const hasVariable = (template: string, known: readonly string[]): boolean =>
  known.some((name) => template.includes(`{${name}}`));

/**
 * Fills the variables in one pass, so a value that looks like a variable stays what it is.
 * @throws UserError for a variable that the task does not have
 */
export function fillTemplate(template: string, variables: Readonly<Record<string, string>>): string {
  return template.replace(VARIABLE, (_, name: string) => {
    const value = Object.hasOwn(variables, name) ? variables[name] : undefined;
    if (value === undefined) {
      const known = Object.keys(variables).map((key) => `{${key}}`);
      throw new UserError(`the prompt template uses {${name}}, which this task does not have`, {
        remedy: `use ${known.join(', ')}`,
      });
    }
    return value;
  });
}
