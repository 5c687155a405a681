import { useEffect, useRef, useState, type PointerEvent } from 'react';
import { ask, pictureUrl, useAsked } from '../api.ts';
import { Link, Notice, number } from '../parts/basics.tsx';
import { href } from '../route.ts';
import type { Corners, Court as CourtData, GroupDetails, Run, Suspect } from '../types.ts';

const SHOWN = 40;

const DECIDED: Readonly<Record<string, string>> = { accept: 'accepted', drop: 'dropped', fix: 'fixed' };

export function Court({ run, version }: { run: Run; version: string }) {
  const [decided, setDecided] = useState(0);
  const { data, error } = useAsked<CourtData>(`runs/${run.id}/court`, `${version} ${decided}`);
  const [fault, setFault] = useState<string>();
  if (error !== undefined && !data) return <Notice title={error} isFault />;
  if (!data) return <Notice title="Looking for labels that groups speak against …" />;
  const decide = (id: string, action: string, solution?: unknown): void => {
    ask(`runs/${run.id}/court`, { id, action, ...(solution !== undefined && { solution }) }).then(
      () => {
        setDecided((count) => count + 1);
      },
      (reason: unknown) => {
        setFault(String(reason instanceof Error ? reason.message : reason));
      },
    );
  };
  return (
    <>
      <p>
        Groups whose rollouts agree with each other against the label, the most suspicious first. Decisions go to{' '}
        <code>{data.file}</code>; a training with <code>data.corrections</code> on that file takes them up from its next
        step. To fix a label, drag a box over its picture.
      </p>
      <p className="key">
        <i className="truth" /> the label <i className="said-box" /> what the rollouts say <i className="drawn" /> the
        box you draw
      </p>
      {fault !== undefined && <Notice title={fault} isFault />}
      {data.suspects.length === 0 && (
        <Notice title="No label is suspicious.">
          Groups appear with the first steps; every rollout agrees with its label so far.
        </Notice>
      )}
      <div className="answers">
        {data.suspects.slice(0, SHOWN).map((suspect) => (
          <Case key={suspect.id} run={run} suspect={suspect} onDecide={decide} />
        ))}
      </div>
    </>
  );
}

function Case({
  run,
  suspect,
  onDecide,
}: {
  run: Run;
  suspect: Suspect;
  onDecide: (id: string, action: string, solution?: unknown) => void;
}) {
  const { sample } = suspect;
  const [box, setBox] = useState<Corners>();
  const [said, setSaid] = useState<readonly Corners[]>([]);
  useEffect(() => {
    ask<{ rows: readonly { step: number; place: number }[] }>(
      `runs/${run.id}/groups?sample=${encodeURIComponent(suspect.id)}&limit=1`,
    )
      .then(({ rows: [row] }) =>
        row ? ask<GroupDetails>(`runs/${run.id}/groups/${row.step}/${row.place}`) : undefined,
      )
      .then(
        (details) => {
          setSaid(details?.group.rollouts.flatMap(({ boxes }) => boxes) ?? []);
        },
        () => {
          setSaid([]);
        },
      );
  }, [run.id, suspect.id]);
  return (
    <article className="case">
      <Drawing run={run.id} suspect={suspect} said={said} box={box} onBox={setBox} />
      <h2>
        <bdi>{suspect.problem}</bdi>
      </h2>
      <p>
        suspicion {number(suspect.suspicion)} in {suspect.seen} {suspect.seen === 1 ? 'group' : 'groups'} ·{' '}
        <Link to={href(['run', run.id, 'groups'], { sample: suspect.id })}>its groups</Link>
        {suspect.decision && <b> · {DECIDED[suspect.decision.action]}</b>}
      </p>
      <p>
        <small>label</small> <bdi className="said">{sample?.solution ?? 'unknown'}</bdi>
      </p>
      <div className="buttons">
        <button
          type="button"
          onClick={() => {
            onDecide(suspect.id, 'accept');
          }}
        >
          the label is right
        </button>
        <button
          type="button"
          onClick={() => {
            onDecide(suspect.id, 'drop');
          }}
        >
          drop the sample
        </button>
        <button
          type="button"
          disabled={!box}
          title={box ? undefined : 'drag a box over the picture first'}
          onClick={() => {
            if (box) onDecide(suspect.id, 'fix', [{ bbox_2d: box.map(Math.round) }]);
          }}
        >
          fix: the box drawn
        </button>
        <button
          type="button"
          onClick={() => {
            onDecide(suspect.id, 'fix', []);
          }}
        >
          fix: nothing is there
        </button>
      </div>
    </article>
  );
}

/** The label's box, what the rollouts say, and a box that is dragged over the picture. */
function Drawing({
  run,
  suspect,
  said,
  box,
  onBox,
}: {
  run: string;
  suspect: Suspect;
  said: readonly Corners[];
  box: Corners | undefined;
  onBox: (box: Corners) => void;
}) {
  const holder = useRef<SVGSVGElement>(null);
  const [start, setStart] = useState<readonly [number, number]>();
  const image = suspect.sample?.images[0];
  if (!image) return <div className="picture none">asked without a picture</div>;
  const { width, height } = image;
  const unit = Math.max(width, height) / 280;
  const at = (event: PointerEvent): [number, number] => {
    const frame = holder.current?.getBoundingClientRect();
    if (!frame) return [0, 0];
    const clip = (value: number, most: number): number => Math.min(most, Math.max(0, value));
    return [
      clip(((event.clientX - frame.left) / frame.width) * width, width),
      clip(((event.clientY - frame.top) / frame.height) * height, height),
    ];
  };
  const url = pictureUrl(run, image.path, suspect.id);
  return (
    <svg
      ref={holder}
      className="picture drawing"
      viewBox={`0 0 ${width} ${height}`}
      role="img"
      aria-label={`${suspect.problem}: drag to draw a box`}
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        setStart(at(event));
      }}
      onPointerMove={(event) => {
        if (!start) return;
        const [x, y] = at(event);
        onBox([Math.min(x, start[0]), Math.min(y, start[1]), Math.max(x, start[0]), Math.max(y, start[1])]);
      }}
      onPointerUp={() => {
        setStart(undefined);
      }}
    >
      {url !== undefined && <image href={url} width={width} height={height} />}
      {said.map(([x0, y0, x1, y1], i) => (
        <rect
          key={i}
          className="mark rollout"
          stroke="#f97316"
          x={x0}
          y={y0}
          width={Math.max(0, x1 - x0)}
          height={Math.max(0, y1 - y0)}
          strokeWidth={1.2 * unit}
        />
      ))}
      {suspect.sample.boxes.map(([x0, y0, x1, y1], i) => (
        <rect
          key={i}
          className="mark truth"
          x={x0}
          y={y0}
          width={Math.max(0, x1 - x0)}
          height={Math.max(0, y1 - y0)}
          strokeWidth={2 * unit}
        />
      ))}
      {box && (
        <rect
          className="mark now"
          x={box[0]}
          y={box[1]}
          width={box[2] - box[0]}
          height={box[3] - box[1]}
          strokeWidth={2 * unit}
        />
      )}
    </svg>
  );
}
