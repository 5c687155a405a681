/** How much curves are smoothed, which the address holds. */
import { amend } from '../route.ts';

export const smoothingOf = (query: URLSearchParams): number => Number(query.get('smooth') ?? 0.6);

export function Smoothing({ value }: { value: number }) {
  return (
    <label>
      <span>smoothing {value.toFixed(2)}</span>
      <input
        type="range"
        min="0"
        max="0.98"
        step="0.02"
        value={value}
        onChange={(event) => {
          amend({ smooth: event.target.value });
        }}
      />
    </label>
  );
}
