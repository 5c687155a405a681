/** Small parts that all pages are made of. */
import type { ReactNode } from 'react';
import { onLink } from '../route.ts';

export function Link({
  to,
  children,
  ...rest
}: {
  to: string;
  children: ReactNode;
  className?: string;
  title?: string;
  'aria-current'?: 'page' | undefined;
}) {
  return (
    <a href={to} onClick={onLink} {...rest}>
      {children}
    </a>
  );
}

export const number = (value: number | undefined, digits = 3): string =>
  value === undefined || !Number.isFinite(value)
    ? '–'
    : Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3)
      ? value.toExponential(1)
      : String(Number(value.toPrecision(digits)));

export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 90) return `${whole} s`;
  if (whole < 5400) return `${Math.round(whole / 60)} min`;
  return `${Math.floor(whole / 3600)} h ${Math.round((whole % 3600) / 60)} min`;
}

/** What stands where there is nothing else: what it means, and what to do. */
export function Notice({
  title,
  children,
  isFault = false,
}: {
  title: string;
  children?: ReactNode;
  isFault?: boolean;
}) {
  return (
    <div className={isFault ? 'notice fault' : 'notice'} role={isFault ? 'alert' : 'status'}>
      <strong>{title}</strong>
      {children !== undefined && <p>{children}</p>}
    </div>
  );
}

export function Spark({ values, label }: { values: readonly number[]; label: string }) {
  if (values.length < 2) return null;
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const span = most - least || 1;
  const points = values.map(
    (value, i) => `${(100 * i) / (values.length - 1)},${24 - (22 * (value - least)) / span - 1}`,
  );
  return (
    <svg className="spark" viewBox="0 0 100 24" preserveAspectRatio="none" role="img" aria-label={label}>
      <polyline points={points.join(' ')} />
    </svg>
  );
}

/** A text of the model: shown as what it is, never as a page of its own. */
export function ModelText({ text, thought = 'fold' }: { text: string; thought?: 'fold' | 'show' }) {
  const found = /^([\s\S]*?)<think>([\s\S]*?)(<\/think>|$)([\s\S]*)$/.exec(text);
  if (!found || thought === 'show') return <bdi className="said">{text}</bdi>;
  const [, before = '', inner = '', close = '', after = ''] = found;
  return (
    <div className="said">
      <bdi>{before}</bdi>
      <details>
        <summary>
          thought, {inner.trim().length} characters{close === '' ? ', not ended' : ''}
        </summary>
        <bdi>{inner}</bdi>
      </details>
      <bdi>{after}</bdi>
    </div>
  );
}

/** A bar from the middle: to the right above zero, to the left below. */
export function Bar({ value, most, label }: { value: number; most: number; label: string }) {
  const share = most > 0 ? Math.min(1, Math.abs(value) / most) : 0;
  return (
    <svg
      className={value < 0 ? 'bar negative' : 'bar'}
      viewBox="-50 0 100 8"
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      <rect x={value < 0 ? -50 * share : 0} y="0" width={50 * share} height="8" />
      <line x1="0" x2="0" y1="0" y2="8" />
    </svg>
  );
}

export function Choice<T extends string>({
  label,
  value,
  options,
  onChange,
}: {
  label: string;
  value: T;
  options: Readonly<Record<T, string>>;
  onChange: (value: T) => void;
}) {
  return (
    <label className="choice">
      <span>{label}</span>
      <select
        value={value}
        onChange={(event) => {
          onChange(event.target.value as T);
        }}
      >
        {Object.entries<string>(options).map(([name, text]) => (
          <option key={name} value={name}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}
