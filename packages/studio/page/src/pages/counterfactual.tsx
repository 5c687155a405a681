import { useEffect, useState } from 'react';
import { ask, useAsked } from '../api.ts';
import { Choice, Link, Notice, number } from '../parts/basics.tsx';
import { GroupView } from '../parts/group.tsx';
import { amend, href, useRoute } from '../route.ts';
import type { GroupDetails, GroupPage, Outcome, Run } from '../types.ts';
import { placeOf } from './groups.tsx';

const SWITCHES = {
  label: { yes: 'ViSurf: the label joins', no: 'RLVR: it does not' },
  eliminate: { on: 'on: no mark for thinking', off: 'off: the full mark', neutral: 'neutral: the mean mark' },
  smooth: { reward: 'by reward', accuracy: 'by accuracy', off: 'off' },
  inject: { always: 'always', 'on-failure': 'on failure' },
  thinking: { eliminate: 'like any other', keep: 'kept' },
  std: { sample: 'sample deviation', population: 'population deviation', none: 'none (Dr.GRPO)' },
} as const;
type Name = keyof typeof SWITCHES;

const TITLES: Readonly<Record<Name, string>> = {
  label: 'paradigm',
  eliminate: 'eliminate',
  smooth: 'smooth',
  inject: 'inject',
  thinking: 'a label’s own thought',
  std: 'divisor',
};

/** A switch as the run's configuration has it. */
function configured(config: string, name: Name): string | undefined {
  if (name === 'label') return /^paradigm: (rlvr|sft)$/m.test(config) ? 'no' : 'yes';
  return new RegExp(`^  ${name}: ([\\w-]+)$`, 'm').exec(config)?.[1];
}

export function Counterfactual({ run, version }: { run: Run; version: string }) {
  const { query } = useRoute();
  const { data: page } = useAsked<GroupPage>(`runs/${run.id}/groups?filter=active&limit=1`, version);
  const first = page?.rows[0];
  const at = query.get('at') ?? (first ? placeOf(first) : undefined);
  const { data: details, error } = useAsked<GroupDetails>(
    at === undefined ? undefined : `runs/${run.id}/groups/${at.replace('.', '/')}`,
  );
  const valueOf = (name: Name): string =>
    query.get(name) ?? configured(run.config, name) ?? Object.keys(SWITCHES[name])[0]!;
  const weight = Number(query.get('weight') ?? 1);
  const asked = JSON.stringify({
    ...Object.fromEntries(
      (Object.keys(SWITCHES) as Name[]).map((name) => [
        name,
        name === 'label' ? valueOf(name) === 'yes' : valueOf(name),
      ]),
    ),
    weight,
  });
  const [outcome, setOutcome] = useState<Outcome>();
  const [fault, setFault] = useState<string>();
  useEffect(() => {
    let isWanted = true;
    if (at === undefined) return undefined;
    ask<Outcome>(`runs/${run.id}/counterfactual/${at.replace('.', '/')}`, JSON.parse(asked)).then(
      (found) => {
        if (!isWanted) return;
        setOutcome(found);
        setFault(undefined);
      },
      (reason: unknown) => {
        if (!isWanted) return;
        setOutcome(undefined);
        setFault(String(reason instanceof Error ? reason.message : reason));
      },
    );
    return () => {
      isWanted = false;
    };
  }, [at, asked, run.id]);
  if (at === undefined)
    return <Notice title="No group to change.">Choose one under Groups: “What if?” leads here.</Notice>;
  if (error !== undefined) return <Notice title={error} isFault />;
  if (!details) return <Notice title="Reading the group …" />;
  const recorded = details.group;
  const hasLabel = recorded.label !== undefined;
  const advantages = outcome && [...(hasLabel ? [outcome.label?.advantage] : []), ...outcome.rollouts];
  const pull = Math.abs(recorded.label?.advantage ?? 0) * (recorded.label?.length ?? 0);
  const others = recorded.rollouts.reduce((sum, { advantage, length }) => sum + Math.abs(advantage) * length, 0);
  return (
    <>
      <p>
        The advantages of this group, had one switch stood otherwise: the functions of training on what it recorded,
        exact. How a label is written (align) cannot be changed afterwards.{' '}
        <Link to={href(['run', run.id, 'groups'], { at })}>Back to the group</Link>
      </p>
      <div className="tools">
        {(Object.keys(SWITCHES) as Name[]).map((name) => (
          <Choice
            key={name}
            label={TITLES[name]}
            value={valueOf(name)}
            options={SWITCHES[name] as Readonly<Record<string, string>>}
            onChange={(value) => {
              amend({ [name]: value, at });
            }}
          />
        ))}
        <label>
          <span>weight of the label {weight}</span>
          <input
            type="range"
            min="0"
            max="4"
            step="0.25"
            value={weight}
            onChange={(event) => {
              amend({ weight: event.target.value, at });
            }}
          />
        </label>
      </div>
      {fault !== undefined && <Notice title={fault} isFault />}
      {outcome && (
        <table>
          <thead>
            <tr>
              <td />
              <th scope="col">as it was</th>
              <th scope="col">as it would have been</th>
            </tr>
          </thead>
          <tbody>
            <tr>
              <th scope="row">A_y</th>
              <td className="number">{number(recorded.label?.advantage)}</td>
              <td className="number">{number(outcome.label?.advantage)}</td>
            </tr>
            <tr>
              <th scope="row">the label is</th>
              <td>{recorded.label ? (recorded.label.active ? 'active' : 'off') : 'absent'}</td>
              <td>{outcome.label ? (outcome.label.active ? 'active' : 'off') : 'absent'}</td>
            </tr>
            <tr>
              <th scope="row" title="|A| times tokens, of all members, before clipping">
                share of the pull
              </th>
              <td className="number">{number(pull + others > 0 ? (100 * pull) / (pull + others) : 0)} %</td>
              <td className="number">{number(100 * outcome.labelShare)} %</td>
            </tr>
          </tbody>
        </table>
      )}
      <GroupView run={run.id} details={details} {...(advantages && { advantages })} />
    </>
  );
}
