/**
 * Programs of users run with limits: one that hangs, ends the process or gives nonsense is an error with its name, tried
 * again or skipped as asked, and never a reward of 0.
 */
import { createContext, Script } from 'node:vm';

export interface RewardLimits {
  /** For one call. */
  readonly seconds: number;
  /** Calls after one that failed. */
  readonly retries: number;
  /** What follows when all have failed. */
  readonly onFailure: 'stop' | 'skip';
  /** Hears of failures that do not end the run. */
  readonly onWarning?: ((message: string) => void) | undefined;
}

export const REWARD_LIMITS: RewardLimits = { seconds: 30, retries: 0, onFailure: 'stop' };

const tooLong = (seconds: number): Error => new Error(`it takes more than ${seconds} s (reward.seconds)`);

const sandbox = createContext({ call: undefined as unknown });
const script = new Script('call()');

/** Calls a function, which is ended where it does not come back in time. */
export function withinTime<T>(seconds: number, call: () => T): T {
  const exit = Object.getOwnPropertyDescriptor(process, 'exit')!;
  process.exit = () => {
    throw new Error('it ends the process');
  };
  sandbox.call = call;
  try {
    return script.runInContext(sandbox, { timeout: Math.max(1, Math.round(1000 * seconds)) }) as T;
  } catch (error) {
    // An error of the other context, which is none of ours.
    const { code } = Object(error) as { readonly code?: unknown };
    throw code === 'ERR_SCRIPT_EXECUTION_TIMEOUT' ? tooLong(seconds) : error;
  } finally {
    Object.defineProperty(process, 'exit', exit);
    sandbox.call = undefined;
  }
}

/** The same for one that may give a promise; what it goes on with after that is not waited for. */
export async function settledInTime<T>(seconds: number, call: () => T | Promise<T>): Promise<T> {
  const started = performance.now();
  const value = withinTime(seconds, call);
  if (!isPromise(value)) return value;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(tooLong(seconds)), Math.max(0, 1000 * seconds - (performance.now() - started)));
  });
  try {
    return await Promise.race([value, late]);
  } finally {
    clearTimeout(timer);
  }
}

const isPromise = (value: unknown): value is Promise<unknown> =>
  typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
