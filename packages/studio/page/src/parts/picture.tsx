/** A picture with boxes and points over it, in pixels of the original. */
import type { Corners, Sample, Spot } from '../types.ts';
import { pictureUrl } from '../api.ts';

export interface Mark {
  readonly name: string;
  readonly kind: 'truth' | 'label' | 'rollout' | 'before' | 'now';
  /** 0 (worst) to 1 (best): its colour. */
  readonly quality?: number;
  readonly boxes: readonly Corners[];
  readonly points: readonly Spot[];
}

interface PictureProps {
  readonly run: string;
  readonly sample: Sample | undefined;
  /** Unset: the one that the run has kept. */
  readonly url?: string | undefined;
  readonly marks: readonly Mark[];
  readonly chosen?: string | undefined;
  readonly onChoose?: (name: string | undefined) => void;
  /** Longest side in pixels of the page. */
  readonly size?: number;
}

const colorOf = ({ kind, quality = 0.5 }: Mark): string | undefined =>
  kind === 'rollout' ? `hsl(${Math.round(120 * quality)} 75% 45%)` : undefined;

export function Picture({ run, sample, url: own, marks, chosen, onChoose, size = 480 }: PictureProps) {
  const image = sample?.images[0];
  if (!sample || !image)
    return <div className="picture none">{sample ? 'asked without a picture' : 'what was asked is not recorded'}</div>;
  const { width, height } = image;
  const url = own ?? pictureUrl(run, image.path, sample.id);
  const unit = Math.max(width, height) / size;
  return (
    <svg
      className="picture"
      viewBox={`0 0 ${width} ${height}`}
      style={{ maxWidth: `${Math.min(size, (size * width) / Math.max(width, height))}px` }}
      role="img"
      aria-label={`${sample.problem}: ${marks.map(({ name, boxes, points }) => `${name}: ${boxes.length + points.length} marks`).join(', ')}`}
    >
      {url === undefined ? (
        <text x={width / 2} y={height / 2} fontSize={14 * unit} textAnchor="middle" className="absent">
          no picture was kept
        </text>
      ) : (
        <image href={url} width={width} height={height} />
      )}
      {marks.map((mark) => (
        <g
          key={mark.name}
          className={`mark ${mark.kind}${chosen === mark.name ? ' chosen' : chosen !== undefined ? ' faint' : ''}`}
          stroke={colorOf(mark)}
          onPointerEnter={() => onChoose?.(mark.name)}
          onPointerLeave={() => onChoose?.(undefined)}
        >
          <title>{mark.name}</title>
          {mark.boxes.map(([x0, y0, x1, y1], i) => (
            <rect
              key={i}
              x={x0}
              y={y0}
              width={Math.max(0, x1 - x0)}
              height={Math.max(0, y1 - y0)}
              strokeWidth={(chosen === mark.name ? 3 : 1.8) * unit}
            />
          ))}
          {mark.points.map(([x, y], i) => (
            <path
              key={i}
              d={`M${x - 6 * unit} ${y}h${12 * unit}M${x} ${y - 6 * unit}v${12 * unit}`}
              strokeWidth={2 * unit}
            />
          ))}
        </g>
      ))}
    </svg>
  );
}

/** Coordinates of both systems, the original's and that of the text. */
export function Places({ boxes, points }: { boxes: readonly Corners[]; points: readonly Spot[] }) {
  if (boxes.length + points.length === 0) return <span className="places">no box: []</span>;
  const shown = [...boxes, ...points]
    .slice(0, 6)
    .map((each) => `[${each.map((value) => Math.round(value)).join(', ')}]`);
  return (
    <span className="places" title="pixels of the original picture">
      {shown.join(' ')}
      {boxes.length + points.length > 6 ? ' …' : ''} px of the original
    </span>
  );
}
