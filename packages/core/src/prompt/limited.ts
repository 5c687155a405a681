/**
 * Chat templates are programs that come with a checkpoint: they run with limits on their steps, their time, and the size
 * of every value. The library's interpreter has none.
 */
import { Environment, Interpreter, Template } from '@huggingface/jinja';

const MAX_STEPS = 1_000_000;
/** Milliseconds. */
const MAX_TIME = 2_000;
/** Characters of a text, elements of a list. */
const MAX_CHARACTERS = 1 << 24;
const MAX_ELEMENTS = 1 << 20;

/** What the library's declarations do not say. */
interface Runs {
  run(program: unknown): { readonly value: unknown };
  evaluate(statement: unknown, environment: unknown): { readonly value: unknown };
}
interface Variables {
  set(name: string, value: unknown): unknown;
}
const Base = Interpreter as unknown as new (environment: Variables) => Runs;
const Scope = Environment as unknown as new () => Variables;

class LimitedInterpreter extends Base {
  #steps = 0;
  readonly #end = performance.now() + MAX_TIME;

  override evaluate(statement: unknown, environment: unknown): { readonly value: unknown } {
    // The time of one step is bounded by the size of its values.
    if (++this.#steps > MAX_STEPS) throw new Error(`it takes more than ${MAX_STEPS} steps`);
    if (performance.now() > this.#end) throw new Error(`it takes more than ${MAX_TIME / 1000} seconds`);
    const result = super.evaluate(statement, environment);
    const { value } = result;
    if (typeof value === 'string' && value.length > MAX_CHARACTERS) throw new Error('it makes too long a text');
    if (Array.isArray(value) && value.length > MAX_ELEMENTS) throw new Error('it makes too long a list');
    return result;
  }
}

/** As the library's, which would fill all memory. */
function range(first: number, second?: number, step = 1): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  if (step === 0) throw new Error('range() step must not be zero');
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (length > MAX_ELEMENTS) throw new Error('it makes too long a list');
  return Array.from({ length }, (_, i) => start + i * step);
}

const now = new Template('{{ strftime_now(format) }}');

/** What templates find beside their variables; the library keeps its own to itself. */
const GLOBALS: Readonly<Record<string, unknown>> = {
  ...{ false: false, true: true, none: null, False: false, True: true, None: null },
  raise_exception: (message: string) => {
    throw new Error(message);
  },
  range,
  strftime_now: (format: string) => now.render({ format }),
};

/** @throws Error where the template says so, or goes beyond a limit */
export function renderLimited(program: Template['parsed'], variables: Readonly<Record<string, unknown>>): string {
  const environment = new Scope();
  for (const [name, value] of Object.entries({ ...GLOBALS, ...variables })) environment.set(name, value);
  return new LimitedInterpreter(environment).run(program).value as string;
}
