/**
 * Chat templates are programs that come with a checkpoint: they run with limits on their steps, their time, and the size
 * of every value. The library's interpreter has none.
 */
import { Environment, Interpreter, Template } from '@huggingface/jinja';

const MAX_STEPS = 1_000_000;
/** Milliseconds, by the clock and of the processor: who is stopped for a while has done nothing. */
const MAX_TIME = 2_000;
/** Characters of a text; elements of a list, of which a loop copies all before its first step, where nothing looks at the time. */
const MAX_CHARACTERS = 1 << 24;
const MAX_ELEMENTS = 1 << 16;

/** What the library's declarations do not say. */
interface Value {
  readonly value: unknown;
}
interface Runs {
  run(program: unknown): Value;
  evaluate(statement: unknown, environment: unknown): Value;
}
interface Statement {
  readonly type?: string;
  readonly callee?: Statement;
  readonly args?: readonly Statement[];
  readonly object?: Statement;
  readonly property?: { readonly value?: unknown };
  readonly computed?: boolean;
}
interface Variables {
  set(name: string, value: unknown): unknown;
}
const Base = Interpreter as unknown as new (environment: Variables) => Runs;
const Scope = Environment as unknown as new () => Variables;

class LimitedInterpreter extends Base {
  #steps = 0;
  readonly #end = performance.now() + MAX_TIME;
  readonly #begun = process.cpuUsage();
  /** Whether it would go on for long. */
  isEndless = false;

  override evaluate(statement: Statement, environment: unknown): Value {
    // The time of one step is bounded by the size of its values.
    if (++this.#steps > MAX_STEPS) this.#stop(`${MAX_STEPS} steps`);
    if (performance.now() > this.#end && this.#milliseconds() > MAX_TIME) this.#stop(`${MAX_TIME / 1000} seconds`);
    const result = this.#strip(statement, environment) ?? super.evaluate(statement, environment);
    const { value } = result;
    if (typeof value === 'string' && value.length > MAX_CHARACTERS) throw new Error('it makes too long a text');
    if (Array.isArray(value) && value.length > MAX_ELEMENTS) throw new Error('it makes too long a list');
    return result;
  }

  #milliseconds(): number {
    const { user, system } = process.cpuUsage(this.#begun);
    return (user + system) / 1000;
  }

  #stop(limit: string): never {
    this.isEndless = true;
    throw new Error(`it takes more than ${limit}`);
  }

  /** `text.strip(characters)` and its like, of which the library ignores the characters. */
  #strip(statement: Statement | undefined, environment: unknown): Value | undefined {
    // The library evaluates what is not there, such as the test of a loop without one.
    const { type, callee, args = [] } = statement ?? {};
    const name = callee?.property?.value;
    if (type !== 'CallExpression' || callee?.type !== 'MemberExpression' || callee.computed) return undefined;
    if (args.length !== 1 || !(name === 'strip' || name === 'lstrip' || name === 'rstrip')) return undefined;
    const [text, set] = [this.evaluate(callee.object!, environment), this.evaluate(args[0]!, environment)];
    if (typeof text.value !== 'string' || typeof set.value !== 'string') return undefined;
    const Text = text.constructor as new (value: string) => Value;
    return new Text(stripped(text.value, set.value, { left: name !== 'rstrip', right: name !== 'lstrip' }));
  }
}

/** As Python strips: any of the characters, as long as there are some. */
function stripped(text: string, characters: string, { left, right }: { left: boolean; right: boolean }): string {
  const all = Array.from(text);
  const isKept = (each: string): boolean => !characters.includes(each);
  const [first, last] = [all.findIndex(isKept), all.findLastIndex(isKept)];
  if (first < 0) return '';
  return all.slice(left ? first : 0, right ? last + 1 : undefined).join('');
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

/** Templates that took too long once. They are not tried again: there may be a message for every sample. */
const endless = new WeakMap<object, Error>();

/** @throws Error where the template says so, or goes beyond a limit */
export function renderLimited(program: Template['parsed'], variables: Readonly<Record<string, unknown>>): string {
  const template = program as object;
  const known = endless.get(template);
  if (known) throw known;
  const environment = new Scope();
  for (const [name, value] of Object.entries({ ...GLOBALS, ...variables })) environment.set(name, value);
  const interpreter = new LimitedInterpreter(environment);
  try {
    return interpreter.run(program).value as string;
  } catch (error) {
    if (interpreter.isEndless) endless.set(template, error as Error);
    throw error;
  }
}
