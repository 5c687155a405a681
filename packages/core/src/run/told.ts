/** Groups of all processes, told to each: what is written down of a step, and what is watched, is that of the whole. */
import type { Processes } from '../distributed/processes.ts';
import type { PlacedGroup } from '../rollout/dynamic.ts';
import type { Group, Response } from '../types.ts';

interface Told {
  /** Those of the whole step, in their order. */
  readonly groups: readonly Group[];
  readonly oldLogProbs: ReadonlyMap<Response, Float64Array>;
}

/** The label's response, and those of the rollouts. */
const responsesOf = ({ rollouts, label }: Group): Response[] => [
  ...(label ? [label.response] : []),
  ...rollouts.map(({ response }) => response),
];

/** Without what only the model reads: pixels are most of a group. */
const withoutInputs = (group: Group): Group => ({
  ...group,
  prompt: { ...group.prompt, inputIds: [], pixelValues: undefined, positionIds: [[], [], []] },
});

export async function tellGroups(
  processes: Processes,
  own: readonly PlacedGroup[],
  logProbs: ReadonlyMap<Response, Float64Array>,
): Promise<Told> {
  if (processes.size === 1) return { groups: own.map(({ group }) => group), oldLogProbs: logProbs };
  const shares = await processes.gather(
    own.map(({ place, group }) => ({
      ...{ place, group: withoutInputs(group) },
      logProbs: responsesOf(group).map((response) => logProbs.get(response)),
    })),
  );
  const told = shares.flat().sort((a, b) => a.place - b.place);
  const known = told.flatMap(({ group, logProbs: values }) =>
    responsesOf(group).flatMap((response, i): [Response, Float64Array][] => (values[i] ? [[response, values[i]]] : [])),
  );
  return { groups: told.map(({ group }) => group), oldLogProbs: new Map(known) };
}
