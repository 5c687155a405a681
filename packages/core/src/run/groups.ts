/** What was said in a step: `groups/NNNNNN.jsonl`, one prompt a line with its label and rollouts. */
import type { Box, Group, Label, Point, Response, StopReason, Terms } from '../types.ts';

export interface ResponseRecord {
  readonly text: string;
  readonly stop: StopReason;
  /** Number of tokens, the stop token included. */
  readonly length: number;
  /** Log-probability of the whole response, under the policy that sampled the rollouts; undefined where it was not needed. */
  readonly logProb?: number | undefined;
  readonly terms: Readonly<Record<string, number>>;
  readonly reward: number;
  readonly advantage: number;
  readonly boxes: readonly Box[];
  readonly points: readonly Point[];
  /** Ids and their log-probabilities, where they are kept. */
  readonly tokens?: readonly number[] | undefined;
  readonly logProbs?: readonly number[] | undefined;
}

export interface RolloutRecord extends ResponseRecord {
  /** Left out of the loss, since it was cut off. */
  readonly masked: boolean;
}

/** The label's response, and what was decided about it (types.ts says what each field means). */
export type LabelRecord = ResponseRecord &
  Pick<Label, 'place' | 'form' | 'active' | 'rewardBefore' | 'weight' | 'reachedBy'>;

export interface GroupRecord {
  readonly step: number;
  readonly id: string;
  readonly problem: string;
  readonly solution: string;
  /** Absent where the prompt had no label. */
  readonly label?: LabelRecord | undefined;
  readonly rollouts: readonly RolloutRecord[];
}

/** What a group does not hold itself, by response. */
export interface GroupDetails {
  /** Pixels of the original image. */
  readonly marks: (response: Response) => { readonly boxes: readonly Box[]; readonly points: readonly Point[] };
  readonly logProb: (response: Response) => number | undefined;
  /** Whether the tokens of a rollout that earned this are kept; unset: of none. */
  readonly keepsTokens?: (terms: Terms) => boolean;
}

/** A response with what it earned. */
type Earned = Pick<Label, 'response' | 'terms' | 'reward' | 'advantage'>;

export function groupRecord(step: number, { sample, rollouts, label }: Group, details: GroupDetails): GroupRecord {
  const record = ({ response, terms, reward, advantage }: Earned): ResponseRecord => {
    const { boxes, points } = details.marks(response);
    const { text, stop, tokens } = response;
    const logProb = details.logProb(response);
    return { text, stop, length: tokens.length, logProb, terms, reward, advantage, boxes, points };
  };
  return {
    step,
    id: sample.id,
    problem: sample.problem,
    solution: sample.solution,
    label: label && labelRecord(label, record(label)),
    rollouts: rollouts.map((rollout) => {
      const { tokens, logProbs } = rollout.response;
      const kept = details.keepsTokens?.(rollout.terms) ? { tokens, logProbs } : {};
      return { ...record(rollout), masked: rollout.masked, ...kept };
    }),
  };
}

const labelRecord = (
  { place, form, active, rewardBefore, weight, reachedBy }: Label,
  response: ResponseRecord,
): LabelRecord => ({ ...response, place, form, active, rewardBefore, weight, reachedBy });
