/** A group: its picture with what every member says, rewards by term, advantages, and what became of the label. */
import { useState } from 'react';
import type { GroupDetails, Response } from '../types.ts';
import { Bar, ModelText, number } from './basics.tsx';
import { Picture, Places, type Mark } from './picture.tsx';

interface Member {
  readonly name: string;
  readonly response: Response;
  readonly isLabel: boolean;
}

export function membersOf({ group }: GroupDetails): Member[] {
  const rollouts = group.rollouts.map((response, i) => ({ name: `rollout ${i + 1}`, response, isLabel: false }));
  return group.label ? [{ name: 'label', response: group.label, isLabel: true }, ...rollouts] : rollouts;
}

export function marksOf(details: GroupDetails): Mark[] {
  const { sample } = details;
  const members = membersOf(details);
  const rewards = members.map(({ response }) => response.reward);
  const [least, most] = [Math.min(...rewards), Math.max(...rewards)];
  const truth: Mark[] = sample ? [{ name: 'truth', kind: 'truth', boxes: sample.boxes, points: sample.points }] : [];
  return [
    ...truth,
    ...members
      .filter(({ isLabel }) => !isLabel || !sample)
      .map(({ name, response, isLabel }): Mark => {
        const quality = most > least ? (response.reward - least) / (most - least) : 1;
        return { name, kind: isLabel ? 'label' : 'rollout', quality, boxes: response.boxes, points: response.points };
      }),
  ];
}

/** Why the label was on or off. */
export function fateOf({ group: { label } }: GroupDetails): string {
  if (!label) return 'This prompt had no label in its group.';
  const by = label.reachedBy.map((place) => `rollout ${place + 1}`).join(', ');
  if (label.place === 'target') return 'The label was imitated, beside the group.';
  if (label.active)
    return `The label was active: no rollout earned as much (${number(label.reward)}). Its form: ${label.form}.`;
  return `The label was switched off: reached by ${by || 'the group'}. It would have earned ${number(label.rewardBefore)}. Its form: ${label.form}.`;
}

export function GroupView({
  run,
  details,
  advantages,
}: {
  run: string;
  details: GroupDetails;
  advantages?: readonly (number | undefined)[];
}) {
  const [chosen, setChosen] = useState<string>();
  const { group, sample, weights } = details;
  const members = membersOf(details);
  const most = Math.max(
    ...members.map(({ response }) => Math.abs(response.advantage)),
    ...(advantages ?? []).map((each) => Math.abs(each ?? 0)),
  );
  return (
    <article className="group">
      <div>
        <Picture run={run} sample={sample} marks={marksOf(details)} chosen={chosen} onChoose={setChosen} />
        <p className="key">
          <i className="truth" /> truth <i className="worst" /> lowest reward <i className="bestmark" /> highest reward
        </p>
        <h2>
          <bdi>{group.problem}</bdi>
        </h2>
        <p>
          step {group.step} · <bdi>{group.id}</bdi>
        </p>
        <p>{fateOf(details)}</p>
        <p>
          truth: <bdi className="said">{group.solution}</bdi>
        </p>
        {sample && (
          <details>
            <summary>prompt as it was sent</summary>
            <pre>{sample.prompt}</pre>
          </details>
        )}
      </div>
      <ol className="members">
        {members.map(({ name, response, isLabel }, i) => (
          <li
            key={name}
            className={chosen === name ? 'chosen' : undefined}
            onPointerEnter={() => {
              setChosen(isLabel && sample ? 'truth' : name);
            }}
            onPointerLeave={() => {
              setChosen(undefined);
            }}
          >
            <div className="memberhead">
              <strong>{name}</strong>
              <span>reward {number(response.reward)}</span>
              <span>
                A {number(response.advantage)}
                {advantages && ` → ${number(advantages[i])}`}
              </span>
              <Bar
                value={advantages ? (advantages[i] ?? 0) : response.advantage}
                most={most}
                label={`advantage ${number(response.advantage)}`}
              />
              <span>
                {response.length} tokens{response.stop === 'length' ? ', cut off' : ''}
              </span>
              {response.logProb !== undefined && <span>log π {number(response.logProb)}</span>}
            </div>
            <ModelText text={response.text} />
            <div className="terms">
              <Places boxes={response.boxes} points={response.points} />
              {Object.entries(response.terms).map(([term, value]) => (
                <span key={term} title={`weight ${weights[term] ?? 'unknown'}`}>
                  {term} {number(value)}
                </span>
              ))}
            </div>
          </li>
        ))}
      </ol>
    </article>
  );
}
