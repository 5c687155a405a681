/**
 * Regular expressions from files and configurations, of which some go on for ever: what runs them has a limit on its
 * time, past which it is ended wherever it is.
 */
import { createContext, Script } from 'node:vm';
import { UserError } from './errors.ts';

/** Milliseconds of a thread's processor: who is stopped for a while has done nothing. */
const MAX_TIME = 1_000;
/** And for every character that is read: vocabularies and texts may be long. */
const PER_CHARACTER = 0.02;

// A context of its own is what Node.js puts a limit on; functions that are called out of it end with it.
const context = createContext({ work: undefined as unknown });
const script = new Script('work()');

/**
 * What `work` gives, which may be begun several times; about 0.1 ms more than it takes alone.
 * @param of the expressions that it runs, where they come from, and the number of characters that are read
 * @throws UserError where it takes more than a second, and 20 ms for every 1,000 characters
 */
export function limited<T>(
  work: () => T,
  {
    expressions,
    where,
    characters,
  }: { expressions: readonly string[]; where?: string | undefined; characters: number },
): T {
  const limit = Math.ceil(MAX_TIME + PER_CHARACTER * characters);
  const given: T[] = [];
  // By the clock an attempt may be over before it has had its time: the next one has twice as long.
  for (let timeout = limit; ; timeout = Math.min(2 * timeout, 2 ** 31 - 1)) {
    const begun = process.threadCpuUsage();
    context['work'] = () => {
      given[0] = work();
    };
    try {
      script.runInContext(context, { timeout });
      return given[0]!;
    } catch (error) {
      // It is an error of that context, no `Error` of ours.
      if ((error as { code?: unknown } | undefined)?.code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error;
      const { user, system } = process.threadCpuUsage(begun);
      // What a limit of the clock ends has shared the processor with others: half of it says enough.
      if ((user + system) / 1000 >= limit / 2) throw tooSlow(expressions, limit, where);
    } finally {
      context['work'] = undefined;
    }
  }
}

function tooSlow(expressions: readonly string[], limit: number, where: string | undefined): UserError {
  const named = expressions.map((each) => JSON.stringify(each)).join(' or ');
  return new UserError(`the regular expression ${named} takes more than ${(limit / 1000).toPrecision(2)} seconds`, {
    where,
    remedy: 'A repetition inside of a repetition, such as (a+)+, may go on for ever: it cannot be used here.',
  });
}
