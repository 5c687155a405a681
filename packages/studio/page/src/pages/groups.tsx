import { useEffect, useRef, useState } from 'react';
import { useVirtualizer } from '@tanstack/react-virtual';
import { useAsked, useTick } from '../api.ts';
import { Choice, Link, Notice, number } from '../parts/basics.tsx';
import { GroupView } from '../parts/group.tsx';
import { amend, href, useRoute } from '../route.ts';
import type { Filter, GroupDetails, GroupPage, GroupRow, Run, Sort } from '../types.ts';

export const FILTERS: Readonly<Record<Filter, string>> = {
  all: 'all groups',
  active: 'label active',
  inactive: 'label switched off',
  zero: 'no rollout right',
  full: 'all rollouts right',
  cut: 'some cut off',
  solved: 'newly solved',
  broken: 'newly broken',
};

export const SORTS: Readonly<Record<Sort, string>> = {
  newest: 'newest',
  oldest: 'oldest',
  worst: 'worst',
  best: 'best',
  spread: 'largest spread',
};

const SHOWN = 500;

export function groupsPath(run: string, query: URLSearchParams): string {
  const parameters = new URLSearchParams({ limit: String(SHOWN) });
  for (const name of ['filter', 'sort', 'text', 'sample', 'step']) {
    const value = query.get(name);
    if (value !== null && value !== '') parameters.set(name, value);
  }
  return `runs/${run}/groups?${parameters.toString()}`;
}

export const placeOf = ({ step, place }: Pick<GroupRow, 'step' | 'place'>): string => `${step}.${place}`;

export function Groups({ run, version }: { run: Run; version: string }) {
  const { query } = useRoute();
  const [isGrowing, setGrowing] = useState(true);
  const tick = useTick(isGrowing);
  const { data: page, error } = useAsked<GroupPage>(groupsPath(run.id, query), `${version} ${tick}`);
  // The index grows while it is looked at; before its first look at the folder it knows of no file.
  const indexed = page?.indexed;
  useEffect(() => {
    setGrowing(!indexed || indexed.done < indexed.files || (indexed.files === 0 && tick < 5));
  }, [indexed, tick]);
  const at = query.get('at') ?? (page?.rows[0] ? placeOf(page.rows[0]) : undefined);
  const { data: details, error: fault } = useAsked<GroupDetails>(
    at === undefined ? undefined : `runs/${run.id}/groups/${at.replace('.', '/')}`,
  );
  const rows = page?.rows ?? [];
  const place = rows.findIndex((row) => placeOf(row) === at);
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement) return;
      if (event.key === '/') {
        event.preventDefault();
        document.querySelector<HTMLInputElement>('#search')?.focus();
      }
      const by =
        event.key === 'j' || event.key === 'ArrowDown' ? 1 : event.key === 'k' || event.key === 'ArrowUp' ? -1 : 0;
      const next = rows[place + by];
      if (by === 0 || !next) return;
      event.preventDefault();
      amend({ at: placeOf(next) });
    };
    addEventListener('keydown', onKey);
    return () => {
      removeEventListener('keydown', onKey);
    };
  }, [rows, place]);
  if (error !== undefined && !page) return <Notice title={error} isFault />;
  return (
    <>
      <div className="tools">
        <Choice<Filter>
          label="show"
          value={(query.get('filter') ?? 'all') as Filter}
          options={FILTERS}
          onChange={(filter) => {
            amend({ filter, at: undefined });
          }}
        />
        <Choice<Sort>
          label="sort by"
          value={(query.get('sort') ?? 'newest') as Sort}
          options={SORTS}
          onChange={(sort) => {
            amend({ sort, at: undefined });
          }}
        />
        <label>
          <span>text</span>
          <input
            id="search"
            type="search"
            placeholder="in answers, press /"
            defaultValue={query.get('text') ?? ''}
            onChange={(event) => {
              amend({ text: event.target.value, at: undefined });
            }}
          />
        </label>
        {(query.get('sample') ?? '') !== '' && (
          <button
            type="button"
            onClick={() => {
              amend({ sample: undefined });
            }}
          >
            all samples again
          </button>
        )}
        {page && (
          <span role="status">
            {page.total} groups
            {page.total > rows.length && `, the first ${rows.length} are listed`}
            {page.indexed.done < page.indexed.files &&
              ` · ${page.indexed.done} of ${page.indexed.files} steps are indexed`}
            {page.searchedTo !== undefined && ` · searched back to step ${page.searchedTo}`}
          </span>
        )}
      </div>
      <div className="split">
        {rows.length > 0 ? (
          <List rows={rows} at={at} />
        ) : (
          page && (
            <Notice title="No group is like that.">
              {page.indexed.files === 0 ? 'Groups appear with the first step.' : 'Choose another filter.'}
            </Notice>
          )
        )}
        <div>
          {fault !== undefined && <Notice title={fault} isFault />}
          {details && (
            <>
              <Slider run={run} details={details} at={at} />
              <GroupView run={run.id} details={details} />
              <p>
                <Link to={href(['run', run.id, 'counterfactual'], { at })}>What if?</Link> ·{' '}
                <Link to={href(['run', run.id, 'groups'], { sample: details.group.id })}>This prompt at all steps</Link>
              </p>
            </>
          )}
        </div>
      </div>
    </>
  );
}

/** One prompt through training. */
function Slider({ run, details: { history, group }, at }: { run: Run; details: GroupDetails; at: string | undefined }) {
  if (history.length < 2) return null;
  const place = Math.max(
    0,
    history.findIndex((row) => placeOf(row) === at),
  );
  return (
    <label className="slider">
      <span>
        this prompt was asked {history.length} times: now step {group.step}
      </span>
      <input
        type="range"
        min={0}
        max={history.length - 1}
        value={place}
        onChange={(event) => {
          const row = history[Number(event.target.value)];
          if (row) amend({ at: placeOf(row) });
        }}
        aria-label={`step of ${run.name}`}
      />
    </label>
  );
}

function List({ rows, at }: { rows: readonly GroupRow[]; at: string | undefined }) {
  const holder = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => holder.current,
    estimateSize: () => 56,
    overscan: 8,
  });
  const place = rows.findIndex((row) => placeOf(row) === at);
  useEffect(() => {
    if (place >= 0) virtual.scrollToIndex(place, { align: 'auto' });
  }, [place]);
  return (
    <div className="list" ref={holder} tabIndex={0} role="listbox" aria-label="groups">
      <div style={{ height: virtual.getTotalSize(), position: 'relative' }}>
        {virtual.getVirtualItems().map(({ index, start }) => {
          const row = rows[index]!;
          const isChosen = placeOf(row) === at;
          return (
            <div
              key={placeOf(row)}
              role="option"
              aria-selected={isChosen}
              className={isChosen ? 'row chosen' : 'row'}
              style={{ position: 'absolute', top: start, height: 56 }}
              onClick={() => {
                amend({ at: placeOf(row) }, false);
              }}
            >
              <bdi>{row.problem}</bdi>
              <small>
                step {row.step} · reward {number(row.mean)} {row.active === 1 ? '· label active' : ''}{' '}
                {row.cut > 0 ? `· ${row.cut} cut off` : ''}
              </small>
            </div>
          );
        })}
      </div>
    </div>
  );
}
