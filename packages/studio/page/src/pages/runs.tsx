import { useState } from 'react';
import { useAsked, useVersion } from '../api.ts';
import { duration, Link, Notice, number, Spark } from '../parts/basics.tsx';
import { amend, href, useRoute } from '../route.ts';
import type { RunSummary } from '../types.ts';

const SAID: Readonly<Record<RunSummary['state'], string>> = {
  running: 'running',
  silent: 'no news',
  finished: 'finished',
  stopped: 'stopped',
  failed: 'failed',
  empty: 'not begun',
};

const SORTS = {
  name: (a: RunSummary, b: RunSummary) => (a.name < b.name ? -1 : 1),
  newest: (a: RunSummary, b: RunSummary) => (b.updated ?? 0) - (a.updated ?? 0),
  best: (a: RunSummary, b: RunSummary) => (b.best?.value ?? -Infinity) - (a.best?.value ?? -Infinity),
} as const;
type Sort = keyof typeof SORTS;

export function Runs() {
  const version = useVersion();
  const { data: runs, error } = useAsked<readonly RunSummary[]>('runs', version);
  const { query } = useRoute();
  const [ticked, setTicked] = useState<readonly string[]>([]);
  const sort = (query.get('sort') ?? 'newest') as Sort;
  const wanted = (query.get('find') ?? '').toLowerCase();
  if (error !== undefined && !runs) return <Notice title={error} isFault />;
  if (!runs) return <Notice title="Looking for runs …" />;
  if (runs.length === 0)
    return (
      <Notice title="There are no runs here yet.">
        Train one (<code>visurf train config.yaml</code>) and it appears, or start the studio on the folder that holds
        them.
      </Notice>
    );
  const shown = runs
    .filter((run) => `${run.name} ${run.paradigm} ${run.state}`.toLowerCase().includes(wanted))
    .toSorted(Object.hasOwn(SORTS, sort) ? SORTS[sort] : SORTS.newest);
  return (
    <>
      <h1>Runs</h1>
      <div className="tools">
        <label>
          <span>find</span>
          <input
            type="search"
            value={query.get('find') ?? ''}
            onChange={(event) => {
              amend({ find: event.target.value });
            }}
          />
        </label>
        <label className="choice">
          <span>sort by</span>
          <select
            value={sort}
            onChange={(event) => {
              amend({ sort: event.target.value });
            }}
          >
            <option value="newest">latest news</option>
            <option value="best">best result</option>
            <option value="name">name</option>
          </select>
        </label>
        {ticked.length > 1 && (
          <Link className="button" to={href(['compare'], { runs: ticked.join(',') })}>
            Compare {ticked.length} runs
          </Link>
        )}
      </div>
      <div className="scroller">
        <table className="runs">
          <thead>
            <tr>
              <th scope="col">
                <span className="hidden">compare</span>
              </th>
              <th scope="col">run</th>
              <th scope="col">paradigm</th>
              <th scope="col">state</th>
              <th scope="col">steps</th>
              <th scope="col">reward</th>
              <th scope="col">best</th>
              <th scope="col">warnings</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((run) => (
              <tr key={run.id}>
                <td>
                  <input
                    type="checkbox"
                    aria-label={`compare ${run.name}`}
                    checked={ticked.includes(run.id)}
                    onChange={({ target }) => {
                      setTicked(target.checked ? [...ticked, run.id] : ticked.filter((each) => each !== run.id));
                    }}
                  />
                </td>
                <td>
                  <Link to={href(['run', run.id])}>
                    <bdi>{run.name}</bdi>
                  </Link>
                </td>
                <td data-name="paradigm">{run.paradigm ?? '–'}</td>
                <td>
                  <span className={`state ${run.state}`}>{SAID[run.state]}</span>{' '}
                  {run.reason !== undefined && <bdi className="reason">{run.reason}</bdi>}
                  {run.timeLeft !== undefined && <span className="reason">{duration(run.timeLeft)} left</span>}
                </td>
                <td className="number" data-name="steps">
                  {run.step} / {run.steps ?? '?'}
                </td>
                <td>
                  <Spark values={run.spark} label={`reward of ${run.name}, last ${number(run.spark.at(-1))}`} />
                </td>
                <td className="number" data-name="best">
                  {run.best ? `${number(run.best.value)} ${run.best.metric} at ${run.best.step}` : '–'}
                </td>
                <td className="number" data-name="warnings">
                  {run.warnings}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {shown.length === 0 && <Notice title="No run is like that.">Change what is to be found.</Notice>}
    </>
  );
}
