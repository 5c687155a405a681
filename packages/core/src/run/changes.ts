/** What another configuration means for a run that goes on: nothing for its steps, another course, or no way. */
import { usesKey } from '../config/keys.ts';
import { changedKeys, type ChangedKey } from '../config/changed.ts';
import type { Config } from '../config/schema.ts';
import { UserError } from '../errors.ts';

const names = (keys: readonly ChangedKey[]): string => keys.map(({ key }) => key).join(', ');

/**
 * @param mayTurn the run takes another course on purpose
 * @throws UserError where what it saved does not fit, or it would take another course
 */
export function refuseChanges(
  before: Config,
  after: Config,
  { directory, mayTurn }: { readonly directory: string; readonly mayTurn: boolean },
): void {
  const changed = changedKeys(before, after).filter(({ effect }) => effect !== 'harmless');
  const fixed = changed.filter(({ effect }) => effect === 'breaks');
  if (fixed.length === 0 && (mayTurn || changed.length === 0)) return;
  throw new UserError(`the configuration differs from that of the run in: ${names(changed)}`, {
    where: directory,
    remedy:
      fixed.length > 0
        ? `What the run saved does not fit another ${names(fixed)}: start a run with another output.`
        : 'Resume with the same values, go back to a checkpoint and take another course from there (--from STEP), or ' +
          'start a run with another output.',
  });
}

/** Says what has changed, and what follows from it. */
export function sayChanges(before: Config, after: Config, step: number): string[] {
  const changed = changedKeys(before, after);
  if (changed.length === 0) return [];
  const list = changed.map(({ key, before: was = 'unset', after: is = 'unset' }) => `${key} was ${was}, is ${is}`);
  const said = [`the configuration has changed: ${list.join('; ')}`];
  const moved = before.steps === after.steps ? [] : schedulesOf(after);
  if (moved.length > 0) {
    said.push(
      `${moved.join(' and ')} go by the number of steps, which was ${before.steps} and is ${after.steps}: from step ` +
        `${step + 1} on they are those of the longer or shorter run, which is a jump. What helps: steps as before, or ` +
        'a decay that ends (optimizer.decay: constant)',
    );
  }
  return said;
}

/** What a run of more steps takes another course in. */
function schedulesOf({ paradigm, optimizer, mix }: Config): string[] {
  const gradual = usesKey(paradigm, 'mix.decaySteps') && mix.decaySteps === undefined;
  return [
    ...(optimizer.decay === 'constant' ? [] : [`the learning rate (optimizer.decay: ${optimizer.decay})`]),
    ...(gradual ? ['the weights of SFT and RL (mix)'] : []),
  ];
}
