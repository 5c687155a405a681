/** Groups for tests that do not care how they came about. */
import type { Group, Label, LabelPlace, Prompt, Response, ScoredRollout, Terms } from '../types.ts';

interface Said {
  readonly tokens?: readonly number[];
  readonly text?: string;
  readonly stop?: Response['stop'];
  readonly logProbs?: readonly number[];
  readonly terms?: Terms;
  readonly reward?: number;
  readonly advantage?: number;
}

export const NO_PROMPT: Prompt = {
  ...{ rendered: '', inputIds: [], pixelValues: undefined, imageGridThw: [], positionIds: [[], [], []], frames: [] },
};

export function rolloutOf(said: Said, masked = false): ScoredRollout {
  const { tokens = [1], text = '', stop = 'eos', logProbs = [], terms = {}, reward = 0, advantage = 0 } = said;
  return { response: { tokens, text, stop, logProbs }, terms, reward, advantage, masked };
}

/** A label that is active. */
export function labelOf(
  { tokens = [1], text = '', terms = {}, reward = 0, advantage = 0 }: Said,
  place: Label['place'],
): Label {
  const response: Response = { tokens, text, stop: 'eos' };
  const decided = { form: 'only', active: true, weight: 1, reachedBy: [] };
  return { place, response, terms, rewardBefore: reward, reward, advantage, ...decided };
}

/** A group of a sample with this id; with a place for the label the first response is the label. */
export function groupOf(id: string, prompt: Prompt, said: readonly Said[], place?: LabelPlace): Group {
  const source = { file: 'test.jsonl', line: 1 };
  const sample = { id, images: [], problem: '', solution: '', task: 'grounding', extra: {}, source };
  const [first = {}, ...rest] = said;
  const rollouts = (place ? rest : said).map((each) => rolloutOf(each));
  return { sample, prompt, rollouts, label: place && labelOf(first, place), skipped: 0 };
}
