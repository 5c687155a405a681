/** The frame: where one is, and what can be gone to. */
import { useEffect } from 'react';
import { exported, knowElsewhere, useAsked, useConnected, useVersion } from './api.ts';
import { Compare } from './pages/compare.tsx';
import { Counterfactual } from './pages/counterfactual.tsx';
import { Court } from './pages/court.tsx';
import { Evaluation } from './pages/evaluation.tsx';
import { Groups } from './pages/groups.tsx';
import { RunPage } from './pages/run.tsx';
import { Runs } from './pages/runs.tsx';
import { Try } from './pages/try.tsx';
import { Link, Notice } from './parts/basics.tsx';
import { href, useRoute } from './route.ts';
import type { Run } from './types.ts';

const TABS = [
  ['', 'Curves'],
  ['groups', 'Groups'],
  ['evaluation', 'Evaluation'],
  ['counterfactual', 'Counterfactual'],
  ['court', 'Label court'],
  ['try', 'Try it'],
] as const;

export function App() {
  const { parts, query } = useRoute();
  const [section = 'runs', id, tab = ''] = parts;
  const connected = useConnected();
  useEffect(() => {
    document.title = [TABS.find(([name]) => name === tab)?.[1], id && 'run', 'visurf studio']
      .filter(Boolean)
      .join(' · ');
  }, [id, tab]);
  return (
    <>
      <header>
        <strong className="brand">visurf studio</strong>
        <nav aria-label="studio">
          <Link to={href(['runs'])} aria-current={section === 'runs' ? 'page' : undefined}>
            Runs
          </Link>
          <Link
            to={href(['compare'], { runs: query.get('runs') ?? undefined })}
            aria-current={section === 'compare' ? 'page' : undefined}
          >
            Compare
          </Link>
        </nav>
        {exported && <span className="state">{exported.note}</span>}
        {!connected && (
          <span className="state fault" role="status">
            the studio does not answer; trying again
          </span>
        )}
      </header>
      <main>
        {section === 'run' && id !== undefined ? (
          <OneRun id={id} tab={tab} />
        ) : section === 'compare' ? (
          <Compare />
        ) : section === 'runs' ? (
          <Runs />
        ) : (
          <Notice title="There is no such page.">Runs has everything there is.</Notice>
        )}
      </main>
    </>
  );
}

function OneRun({ id, tab }: { id: string; tab: string }) {
  const version = useVersion(id);
  const { data: run, error } = useAsked<Run>(`runs/${id}`, version);
  if (error !== undefined && !run)
    return (
      <Notice title={error} isFault>
        <Link to={href(['runs'])}>Runs</Link> has those that are there.
      </Notice>
    );
  if (!run) return <Notice title="Looking at the run …" />;
  knowElsewhere(run.hasElsewhere);
  return (
    <>
      <div className="runhead">
        <h1>
          <bdi>{run.name}</bdi>
        </h1>
        <p>
          {run.paradigm ?? 'run'} · {run.step} of {run.steps ?? '?'} steps · {run.state}
          {run.reason === undefined ? '' : `: ${run.reason}`}
        </p>
        {error !== undefined && <Notice title={`What is shown is no longer there: ${error}`} isFault />}
        <nav aria-label="run" className="tabs">
          {TABS.map(([name, title]) => (
            <Link
              key={name}
              to={href(['run', id, ...(name === '' ? [] : [name])])}
              aria-current={tab === name ? 'page' : undefined}
            >
              {title}
            </Link>
          ))}
        </nav>
      </div>
      {tab === '' && <RunPage run={run} version={version} />}
      {tab === 'groups' && <Groups run={run} version={version} />}
      {tab === 'evaluation' && <Evaluation run={run} version={version} />}
      {tab === 'counterfactual' && <Counterfactual run={run} version={version} />}
      {tab === 'court' && <Court run={run} version={version} />}
      {tab === 'try' && <Try run={run} />}
    </>
  );
}
