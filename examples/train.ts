/** Trains on a folder of pictures: node train.ts CONFIG.yaml */
import { loadConfig, train } from 'visurf';

const { run, metrics } = await train(loadConfig(process.argv[2] ?? 'config.yaml'), {
  onEvent: (event) => {
    if (event.kind === 'step') console.error(`step ${event.step} of ${event.steps}: reward ${event.metrics['reward']}`);
  },
});
console.log(JSON.stringify({ run, metrics }));
