import { useEffect, useState } from 'react';
import { useAsked, useTick } from '../api.ts';
import { chaptersOf } from '../meanings.ts';
import { Notice, number } from '../parts/basics.tsx';
import { Chart } from '../parts/chart.tsx';
import { Spread } from '../parts/spread.tsx';
import { Smoothing, smoothingOf } from '../parts/smoothing.tsx';
import { useRoute } from '../route.ts';
import type { Curves, Histogram, Run } from '../types.ts';

const POINTS = 800;

export function RunPage({ run, version }: { run: Run; version: string }) {
  const { query } = useRoute();
  const smoothing = smoothingOf(query);
  const { data: curves, error } = useAsked<Curves>(`runs/${run.id}/curves?points=${POINTS}`, version);
  if (error !== undefined) return <Notice title={error} isFault />;
  if (!curves) return <Notice title="Reading the curves …" />;
  const chapters = chaptersOf(Object.keys(curves));
  const warned = run.warnings.map(({ step }) => step);
  return (
    <>
      {run.damaged.map((line) => (
        <Notice key={line} title={line} isFault />
      ))}
      {run.warnings.length > 0 && (
        <details className="warnings" open={run.warnings.length < 4}>
          <summary>{run.warnings.length} warnings</summary>
          <ul>
            {run.warnings.map(({ step, message }, i) => (
              <li key={i}>
                step {step}: <bdi>{message}</bdi>
              </li>
            ))}
          </ul>
        </details>
      )}
      {chapters.length === 0 && <Notice title="No step is finished yet.">Curves appear with the first one.</Notice>}
      <div className="tools">
        <Smoothing value={smoothing} />
      </div>
      <Spreads run={run} version={version} />
      {chapters.map(({ title, curves: shown }) => (
        <section key={title}>
          <h2>{title}</h2>
          <div className="charts">
            {shown.map(({ name, title: heading, text }) => {
              const curve = curves[name]!;
              return (
                <figure key={name}>
                  <figcaption>
                    <h3>{heading}</h3>
                    <span className="number">{number(curve.values.at(-1))}</span>
                    <p>{text}</p>
                  </figcaption>
                  <Chart
                    lines={[{ name: heading, curve, color: 0 }]}
                    smoothing={name.startsWith('eval.') ? 0 : smoothing}
                    warned={warned}
                  />
                  {curve.total > curve.values.length && (
                    <small>
                      {curve.values.length} of {curve.total} points: least and greatest of each part
                    </small>
                  )}
                </figure>
              );
            })}
          </div>
        </section>
      ))}
      <details>
        <summary>configuration</summary>
        <pre>{run.config}</pre>
      </details>
      {run.start && (
        <p className="origin">
          {run.start.command !== undefined && <code>{run.start.command}</code>}{' '}
          {run.start.host !== undefined && `on ${run.start.host}`}{' '}
          {run.start.commit !== undefined && `at commit ${run.start.commit.slice(0, 10)}`}
        </p>
      )}
    </>
  );
}

/** What the means of the curves hide. */
function Spreads({ run, version }: { run: Run; version: string }) {
  const [isGrowing, setGrowing] = useState(true);
  const tick = useTick(isGrowing);
  const { data: rewards } = useAsked<Histogram>(`runs/${run.id}/histogram?what=reward`, `${version} ${tick}`);
  const { data: lengths } = useAsked<Histogram>(`runs/${run.id}/histogram?what=length`, `${version} ${tick}`);
  const missing = rewards ? rewards.files - rewards.indexed : undefined;
  useEffect(() => {
    setGrowing(missing === undefined || missing > 0 || tick < 3);
  }, [missing, tick]);
  if (!rewards || !lengths || rewards.steps.length === 0) return null;
  return (
    <section>
      <h2>Rollouts, all of them</h2>
      <div className="charts">
        <Spread title="Rewards" histogram={rewards}>
          Darker: more of a step's rollouts earn that. Two bands that stay apart are prompts that are solved and prompts
          that are not; one band that narrows leaves nothing to learn from.
        </Spread>
        <Spread title="Lengths, in tokens" histogram={lengths}>
          Darker: more rollouts are that long. Worry when a band grows at the top: answers are cut off.
        </Spread>
      </div>
    </section>
  );
}
