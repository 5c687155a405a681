/** What was said in a step: `groups/NNNNNN.jsonl`, one prompt a line with its label and rollouts. */
import type { Box, Group, LabelControl, Member, Point, StopReason } from '../types.ts';

export interface MemberRecord {
  readonly kind: 'label' | 'rollout';
  readonly text: string;
  readonly stop: StopReason;
  /** Number of tokens, the stop token included. */
  readonly length: number;
  /** Of the whole response, under the policy that sampled the rollouts; undefined where it was not needed. */
  readonly logProb?: number | undefined;
  readonly terms: Readonly<Record<string, number>>;
  readonly reward: number;
  readonly advantage: number;
  readonly boxes: readonly Box[];
  readonly points: readonly Point[];
}

export interface GroupRecord {
  readonly step: number;
  readonly id: string;
  readonly images: readonly string[];
  readonly problem: string;
  readonly solution: string;
  /** Surface form of the label, where it stood, and whether it taught anything; absent where the prompt had no label. */
  readonly label?: LabelControl | undefined;
  readonly members: readonly MemberRecord[];
}

/** What a group does not hold itself, by member. */
export interface GroupDetails {
  /** In pixels of the original image. */
  readonly marks: (member: Member) => { readonly boxes: readonly Box[]; readonly points: readonly Point[] };
  readonly logProb: (member: Member) => number | undefined;
}

export function groupRecord(step: number, { sample, members, label }: Group, details: GroupDetails): GroupRecord {
  return {
    step,
    id: sample.id,
    images: sample.images,
    problem: sample.problem,
    solution: sample.solution,
    label,
    members: members.map((member) => {
      const { boxes, points } = details.marks(member);
      return {
        kind: member.kind,
        text: member.response.text,
        stop: member.response.stop,
        length: member.response.tokens.length,
        logProb: details.logProb(member),
        terms: member.terms,
        reward: member.reward,
        advantage: member.advantage,
        boxes,
        points,
      };
    }),
  };
}
