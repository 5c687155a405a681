/**
 * How likely "yes" is where an answer says yes or no: sigmoid(lse(log p of the forms of yes) - lse(log p of those of
 * no)). A definition of ours: published protocols take scores as they are.
 */
const forms = (word: string): string[] =>
  [word, word[0]!.toUpperCase() + word.slice(1), word.toUpperCase()].flatMap((form) => [form, ` ${form}`]);

const [YES, NO] = [forms('yes'), forms('no')];

const OPEN = '<answer>';

/** The answer up to its verdict, with every form of either verdict; undefined where it has no place for one. */
export function verdicts(text: string): string[] | undefined {
  const start = text.indexOf(OPEN);
  if (start < 0) return undefined;
  const before = text.slice(0, start + OPEN.length);
  return [...YES, ...NO].map((form) => before + form);
}

/** log sum exp, without overflow. */
function logSum(values: readonly number[]): number {
  const most = Math.max(...values);
  return most === -Infinity ? most : most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
}

/** The probability of yes, from log-probabilities of forms of yes and of no. */
export const probabilityOf = (yes: readonly number[], no: readonly number[]): number =>
  1 / (1 + Math.exp(logSum(no) - logSum(yes)));

/** @param logProbs of the texts of `verdicts`, in their order */
export const probabilityOfYes = (logProbs: readonly number[]): number =>
  probabilityOf(logProbs.slice(0, YES.length), logProbs.slice(YES.length));
