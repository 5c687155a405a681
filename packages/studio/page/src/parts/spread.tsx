/** How a measure of all rollouts is spread, step by step: a column per part of the training, darker where more are. */
import type { ReactNode } from 'react';
import { number } from './basics.tsx';
import type { Histogram } from '../types.ts';

const [WIDTH, HEIGHT] = [320, 132];

interface SpreadProps {
  readonly title: string;
  readonly histogram: Histogram;
  readonly children: ReactNode;
}

export function Spread({ title, histogram: { steps, bins, shares, members, indexed, files }, children }: SpreadProps) {
  const [width, height] = [WIDTH / steps.length, HEIGHT / bins.length];
  const [least, most] = [number(bins[0]), number(bins.at(-1))];
  return (
    <figure>
      <figcaption>
        <h3>{title}</h3>
        <span className="number">{members.toLocaleString('en')} rollouts</span>
        {indexed < files && (
          <small>
            {' '}
            of {indexed} of {files} steps so far
          </small>
        )}
        <p>{children}</p>
      </figcaption>
      <div className="spread">
        <span className="scale">
          <small>{most}</small>
          <small>{least}</small>
        </span>
        <svg
          viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
          preserveAspectRatio="none"
          role="img"
          aria-label={`${title}: from ${least} to ${most}, ${members} rollouts`}
        >
          {shares.flatMap((column, i) =>
            column.map((share, j) =>
              share === 0 ? null : (
                <rect
                  key={`${i}.${j}`}
                  x={i * width}
                  y={HEIGHT - (j + 1) * height}
                  width={width + 0.3}
                  height={height + 0.3}
                  opacity={0.12 + 0.88 * Math.sqrt(share)}
                >
                  <title>
                    step {steps[i]}: {Math.round(100 * share)}% around {number(bins[j])}
                  </title>
                </rect>
              ),
            ),
          )}
        </svg>
        <span className="steps">
          <small>step {steps[0]}</small>
          <small>{steps.at(-1)}</small>
        </span>
      </div>
    </figure>
  );
}
