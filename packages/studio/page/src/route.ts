/** The address says all that is seen: a link restores the exact view. In an exported file it stands behind `#`. */
import { useSyncExternalStore, type MouseEvent } from 'react';
import { exported } from './api.ts';

export interface Route {
  /** Parts of the path below the base. */
  readonly parts: readonly string[];
  readonly query: URLSearchParams;
}

const listeners = new Set<() => void>();
const notify = (): void => {
  for (const listener of listeners) listener();
};
addEventListener('popstate', notify);
addEventListener('hashchange', notify);

const basePath = new URL(document.baseURI).pathname;

const address = (): string =>
  exported ? location.hash.slice(1) : location.pathname.slice(basePath.length - 1) + location.search;

export function useRoute(): Route {
  const said = useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, address);
  const [path = '', query = ''] = said.split('?');
  return {
    parts: path
      .split('/')
      .filter((part) => part !== '')
      .map(decodeURIComponent),
    query: new URLSearchParams(query),
  };
}

/** The address of a view. */
export function href(
  parts: readonly (string | number)[],
  query: Record<string, string | number | undefined> = {},
): string {
  const path = parts.map((part) => encodeURIComponent(part)).join('/');
  const said = Object.entries(query).filter(([, value]) => value !== undefined && value !== '');
  const text = new URLSearchParams(said.map(([name, value]) => [name, String(value)])).toString();
  return `${exported ? '#/' : ''}${path}${text === '' ? '' : `?${text}`}`;
}

export function go(to: string, replace = false): void {
  const url = exported ? to : new URL(to, document.baseURI).href;
  if (replace) history.replaceState(null, '', url);
  else history.pushState(null, '', url);
  notify();
}

/** Changes some of the query of where one is. */
export function amend(change: Record<string, string | number | undefined>, replace = true): void {
  const [path = '', query = ''] = address().split('?');
  const parameters = new URLSearchParams(query);
  for (const [name, value] of Object.entries(change)) {
    if (value === undefined || value === '') parameters.delete(name);
    else parameters.set(name, String(value));
  }
  const text = parameters.toString();
  go(`${exported ? '#' : ''}${exported ? path : path.replace(/^\//, '')}${text === '' ? '' : `?${text}`}`, replace);
}

/** Lets a click on a link of ours change the view without loading the page. */
export function onLink(event: MouseEvent<HTMLAnchorElement>): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const to = event.currentTarget.getAttribute('href');
  if (to === null || /^[a-z]+:/.test(to)) return;
  event.preventDefault();
  go(to);
}
