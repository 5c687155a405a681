import { defineParadigm } from 'visurf';

/** ViSurf that lets go: the label is a response of its group in the first half of the steps, and none after that. */
export default defineParadigm({
  name: 'letting-go',
  samples: true,
  label: 'member',
  defaults: { 'label.smooth': 'off' },
  work: ({ steps, promptsPerStep: prompts, rollout }, step) => ({
    rl: 1,
    sft: 0,
    parts: [{ prompts, rollouts: rollout.group, label: step <= steps / 2 ? 'member' : 'none' }],
  }),
});
