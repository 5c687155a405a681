import { useEffect, useState } from 'react';
import { ask, useAsked, useVersion } from '../api.ts';
import { chaptersOf } from '../meanings.ts';
import { Link, Notice, number } from '../parts/basics.tsx';
import { Chart, type Line } from '../parts/chart.tsx';
import { Smoothing, smoothingOf } from '../parts/smoothing.tsx';
import { amend, href, useRoute } from '../route.ts';
import type { Curve, Curves, RunSummary } from '../types.ts';

const POINTS = 400;
/** Metrics in the table. */
const COLUMNS = 12;

/** What the paper reports (ViSurf, table 1: average over its six tasks), to see the order. */
const PAPER =
  'SFT < RLVR < SFT → RLVR < ViSurf on average; RLVR leaves N-Acc where the base has it, SFT loses what the base knew.';

/** The mean of curves with the same steps, and how far they spread (a standard deviation of the sample). */
function joined(curves: readonly Curve[]): { mean: Curve; low: Curve; high: Curve } {
  const steps = curves[0]!.steps.filter((step) => curves.every((curve) => curve.steps.includes(step)));
  const rows = steps.map((step) => curves.map((curve) => curve.values[curve.steps.indexOf(step)]!));
  const means = rows.map((row) => row.reduce((a, b) => a + b, 0) / row.length);
  const deviations = rows.map((row, i) =>
    Math.sqrt(row.reduce((sum, value) => sum + (value - means[i]!) ** 2, 0) / Math.max(1, row.length - 1)),
  );
  const of = (values: number[]): Curve => ({ steps, values, total: values.length });
  return {
    mean: of(means),
    low: of(means.map((value, i) => value - deviations[i]!)),
    high: of(means.map((value, i) => value + deviations[i]!)),
  };
}

export function Compare() {
  const version = useVersion();
  const { query } = useRoute();
  const { data: runs, error } = useAsked<readonly RunSummary[]>('runs', version);
  const chosen = (query.get('runs') ?? '').split(',').filter((id) => id !== '');
  const ids = chosen.length > 0 ? chosen : (runs ?? []).slice(0, 8).map(({ id }) => id);
  const [curves, setCurves] = useState<Readonly<Record<string, Curves>>>({});
  const wanted = ids.join(',');
  useEffect(() => {
    let isWanted = true;
    void Promise.all(
      ids.map(async (id) => [id, await ask<Curves>(`runs/${id}/curves?points=${POINTS}`).catch(() => ({}))] as const),
    ).then((all) => {
      if (isWanted) setCurves(Object.fromEntries(all));
    });
    return () => {
      isWanted = false;
    };
  }, [wanted, version]);
  const smoothing = smoothingOf(query);
  if (error !== undefined && !runs) return <Notice title={error} isFault />;
  if (!runs) return <Notice title="Looking for runs …" />;
  const shown = runs.filter(({ id }) => ids.includes(id));
  if (shown.length < 2)
    return (
      <Notice title="Comparing needs two runs.">
        Tick some under <Link to={href(['runs'])}>Runs</Link>.
      </Notice>
    );
  const isJoined = query.get('seeds') === 'mean';
  const groups = isJoined
    ? [...Map.groupBy(shown, ({ paradigm, model }) => `${paradigm} ${model}`)]
    : shown.map((run) => [run.name, [run]] as const);
  const linesOf = (name: string): Line[] =>
    groups.flatMap(([title, members], color): Line[] => {
      const own = members.flatMap(({ id }) => curves[id]?.[name] ?? []);
      if (own.length === 0) return [];
      if (own.length === 1) return [{ name: title, curve: own[0]!, color }];
      const { mean, low, high } = joined(own);
      return [
        { name: `${title} (${own.length} seeds)`, curve: mean, color },
        { name: 'less a deviation', curve: low, color, dashed: true },
        { name: 'plus a deviation', curve: high, color, dashed: true },
      ];
    });
  const names = [...new Set(Object.values(curves).flatMap((each) => Object.keys(each)))];
  const metrics = names.filter((name) => name.startsWith('eval.')).slice(0, COLUMNS);
  return (
    <>
      <h1>Compare</h1>
      <div className="tools">
        <Smoothing value={smoothing} />
        <label className="check">
          <input
            type="checkbox"
            checked={isJoined}
            onChange={(event) => {
              amend({ seeds: event.target.checked ? 'mean' : undefined });
            }}
          />
          <span>mean and band over seeds</span>
        </label>
      </div>
      <p>The paper’s order: {PAPER}</p>
      <div className="scroller">
        <table>
          <thead>
            <tr>
              <th scope="col">run</th>
              <th scope="col">paradigm</th>
              {metrics.map((name) => (
                <th scope="col" key={name}>
                  {name.slice(5)}
                </th>
              ))}
              <th scope="col">minutes</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((run) => (
              <tr key={run.id}>
                <td>
                  <Link to={href(['run', run.id])}>
                    <bdi>{run.name}</bdi>
                  </Link>
                </td>
                <td>{run.paradigm}</td>
                {metrics.map((name) => (
                  <td className="number" key={name}>
                    {number(curves[run.id]?.[name]?.values.at(-1))}
                  </td>
                ))}
                <td className="number">
                  {run.started !== undefined && run.updated !== undefined
                    ? number((run.updated - run.started) / 60_000)
                    : '–'}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {chaptersOf(names).map(({ title, curves: all }) => (
        <section key={title}>
          <h2>{title}</h2>
          <div className="charts">
            {all.map(({ name, title: heading, text }) => (
              <figure key={name}>
                <figcaption>
                  <h3>{heading}</h3>
                  <p>{text}</p>
                </figcaption>
                <Chart lines={linesOf(name)} smoothing={name.startsWith('eval.') ? 0 : smoothing} />
              </figure>
            ))}
          </div>
        </section>
      ))}
    </>
  );
}
