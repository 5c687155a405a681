/** The process that isolated.ts asks; its arguments are the files of plugins, which it loads before it is ready. */
import { messageOf } from '../errors.ts';
import { skip } from '../reward/reward.ts';
import type { Reply, Request } from './isolated.ts';
import { loadPlugin } from './plugins.ts';

// Nobody may be there any more.
const say = (reply: Reply): void => void process.send!(reply, () => undefined);

async function judge({ file, reward: name, answers, sample, context }: Request): Promise<unknown> {
  const reward = loadPlugin(file).rewards.find((each) => each.name === name)!;
  const values: unknown = await (reward.scoreGroup
    ? reward.scoreGroup(answers, sample, context)
    : Promise.all(answers.map(async (answer) => reward.score(answer, sample, context))));
  return Array.isArray(values) ? values.map((value: unknown) => (value === skip ? null : value)) : values;
}

process.on('message', (request: Request) => {
  judge(request).then(
    (values) => say({ values }),
    (error: unknown) => say({ fault: messageOf(error) }),
  );
});

process.argv.slice(2).forEach((file) => loadPlugin(file));
say('ready');
