/** Asking the server; in an exported file, the answers that it holds. */
import { useEffect, useState, useSyncExternalStore } from 'react';

interface Export {
  readonly answers: Readonly<Record<string, unknown>>;
  readonly pictures: Readonly<Record<string, string>>;
  readonly note: string;
}

const holder = document.getElementById('export');
/** What an exported file holds; undefined where there is a server. */
export const exported = holder ? (JSON.parse(holder.textContent) as Export) : undefined;

export async function ask<T>(path: string, body?: unknown): Promise<T> {
  if (exported) {
    if (!(path in exported.answers)) throw new Error('this exported file does not hold that');
    return exported.answers[path] as T;
  }
  const init = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) };
  const response = await fetch(`api/${path}`, init);
  const answer = (await response.json().catch(() => ({}))) as { error?: { message: string } };
  if (!response.ok) throw new Error(answer.error?.message ?? `the studio answered ${response.status}`);
  return answer as T;
}

/** Asks for an answer that comes in lines, and hears each as it comes. */
export async function listen(
  path: string,
  body: unknown,
  signal: AbortSignal,
  hear: (line: unknown) => void,
): Promise<void> {
  const response = await fetch(`api/${path}`, { method: 'POST', body: JSON.stringify(body), signal });
  if (!response.ok || !response.body) {
    const answer = (await response.json().catch(() => ({}))) as { error?: { message: string } };
    throw new Error(answer.error?.message ?? `the studio answered ${response.status}`);
  }
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) hear(JSON.parse(line));
  }
}

let hasElsewhere = false;
/** Whether pictures that a run has not kept may be asked for. */
export function knowElsewhere(may: boolean): void {
  hasElsewhere = may;
}

/** Of a picture that the run has kept; else one that `--images` may know by the sample. */
export function pictureUrl(run: string, path: string | undefined, sample: string): string | undefined {
  if (path === undefined) return !hasElsewhere ? undefined : `api/runs/${run}/pictures/${encodeURIComponent(sample)}`;
  const name = path.replace('images/', '');
  return exported ? exported.pictures[name] : `api/runs/${run}/images/${name}`;
}

const listeners = new Set<() => void>();
const versions = new Map<string, string>();
let all = 0;
let connected = true;

if (!exported) {
  const source = new EventSource('api/live');
  source.addEventListener('news', ({ data }: MessageEvent<string>) => {
    for (const { id, version } of JSON.parse(data) as { id: string; version: string }[]) versions.set(id, version);
    all++;
    for (const listener of listeners) listener();
  });
  source.onopen = source.onerror = () => {
    connected = source.readyState === EventSource.OPEN;
    for (const listener of listeners) listener();
  };
}

const subscribe = (listener: () => void): (() => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

/** Changes with every event of a run; of all runs where none is named. */
export const useVersion = (run?: string): string =>
  useSyncExternalStore(subscribe, () => (run === undefined ? String(all) : (versions.get(run) ?? '')));

/** Whether the server is heard. */
export const useConnected = (): boolean => useSyncExternalStore(subscribe, () => connected);

export interface Asked<T> {
  readonly data: T | undefined;
  readonly error: string | undefined;
}

/** Counts up while something is waited for that no event tells of. */
export function useTick(isWaiting: boolean): number {
  const [tick, setTick] = useState(0);
  useEffect(() => {
    if (!isWaiting || exported) return undefined;
    const timer = setTimeout(() => setTick(tick + 1), 400);
    return () => clearTimeout(timer);
  }, [isWaiting, tick]);
  return tick;
}

/** Asks again whenever the path or the version changes; what was known stays until then. */
export function useAsked<T>(path: string | undefined, version = ''): Asked<T> & { readonly path: string | undefined } {
  const [state, setState] = useState<Asked<T> & { path: string | undefined }>({
    data: undefined,
    error: undefined,
    path,
  });
  useEffect(() => {
    if (path === undefined) return undefined;
    let isWanted = true;
    ask<T>(path).then(
      (data) => isWanted && setState({ data, error: undefined, path }),
      (error: unknown) =>
        isWanted &&
        setState((old) => ({
          data: old.path === path ? old.data : undefined,
          error: String(error instanceof Error ? error.message : error),
          path,
        })),
    );
    return () => {
      isWanted = false;
    };
  }, [path, version]);
  return state;
}
