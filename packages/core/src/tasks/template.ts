/** Prompt templates: text with variables written `{Name}`; any other brace is text. */
import { UserError } from '../errors.ts';

const VARIABLE = /\{([A-Z][A-Za-z]*)\}/g;

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
