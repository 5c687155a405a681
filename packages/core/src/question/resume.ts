/** Whether a run that goes on is rewarded as it was. */
import { UserError } from '../errors.ts';
import type { Settings } from './settings.ts';

/**
 * @param run the run's directory, for messages
 * @returns a warning for everything that is there and has changed
 * @throws UserError where a reward is missing, or there is one that was not
 */
export function changesOfRewards(before: Settings, now: Settings, run: string): string[] {
  const names = (settings: Settings): string[] => settings.rewards.map(({ name }) => name);
  const missing = names(before).filter((name) => !names(now).includes(name));
  const added = names(now).filter((name) => !names(before).includes(name));
  if (missing.length + added.length > 0) {
    const reasons = [
      ...missing.map((name) => `with the reward "${name}", which is missing now`),
      ...added.map((name) => `without the reward "${name}"`),
    ];
    throw new UserError(`the run was trained ${reasons.join(', and ')}`, {
      where: run,
      remedy: 'Resume it with the same rewards: plugins in the configuration, or the option rewards of train().',
    });
  }
  const plugins = before.plugins.filter(({ name, sha256 }) => {
    const own = now.plugins.find((each) => each.name === name);
    return own?.sha256 !== sha256;
  });
  const rewards = before.rewards.filter((reward) => {
    const own = now.rewards.find(({ name }) => name === reward.name);
    return own?.weight !== reward.weight || own.sha256 !== reward.sha256;
  });
  return [
    ...plugins.map(({ name }) => `the plugin ${name} is not what it was when the run began`),
    ...rewards.map(({ name }) => `the reward "${name}" is not what it was when the run began`),
  ];
}
