/** All runs below some folders, looked at again and again. */
import { findRuns } from './runs.ts';
import { RunView } from './run-view.ts';

/** Milliseconds between looks at what is written, and at which runs there are. */
const POLL = 250;
const RESCAN = 3_000;
/** Milliseconds between two news of a run: pages need not ask again for every step of a fast one. */
const PAUSE = 750;

/** A run and its version, where there is news. */
export type Changed = readonly { readonly id: string; readonly version: string }[];

export class Studio {
  readonly #roots: readonly string[];
  readonly #cache: string | undefined;
  readonly #runs = new Map<string, RunView>();
  readonly #watchers = new Set<(changed: Changed) => void>();
  /** When each run was last told of, and those of which there is news to tell. */
  readonly #told = new Map<string, number>();
  readonly #due = new Set<string>();
  #scanned = 0;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param cache folder for indexes, which may be deleted; unset: they are in memory alone
   * @throws UserError for a root that is no folder
   */
  constructor(roots: readonly string[], cache?: string) {
    this.#roots = roots;
    this.#cache = cache;
    this.#scan();
    for (const run of this.#runs.values()) this.#poll(run);
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#look();
    }, POLL);
  }

  runs(): RunView[] {
    return [...this.#runs.values()];
  }

  run(id: string): RunView | undefined {
    return this.#runs.get(id);
  }

  /** @returns what ends it */
  watch(watcher: (changed: Changed) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.runs().map((run) => run.close()));
  }

  #look(): void {
    const before = new Set(this.#runs.keys());
    if (performance.now() - this.#scanned > RESCAN) {
      try {
        this.#scan();
      } catch {
        // A root that is gone for a while: its runs are no longer there either.
      }
    }
    const now = performance.now();
    for (const run of this.runs()) if (this.#poll(run) || !before.has(run.id)) this.#due.add(run.id);
    const changed = this.runs()
      .filter(({ id }) => this.#due.has(id) && now - (this.#told.get(id) ?? -PAUSE) >= PAUSE)
      .map(({ id, version }) => ({ id, version }));
    for (const { id } of changed) {
      this.#due.delete(id);
      this.#told.set(id, now);
    }
    const gone = [...before].filter((id) => !this.#runs.has(id)).map((id) => ({ id, version: '' }));
    for (const { id } of gone) this.#due.delete(id);
    const news = [...changed, ...gone];
    if (news.length > 0) for (const watcher of this.#watchers) watcher(news);
  }

  #scan(): void {
    for (const folder of findRuns(this.#roots)) {
      if (!this.#runs.has(folder.id)) this.#runs.set(folder.id, new RunView(folder, this.#cache));
    }
    this.#scanned = performance.now();
  }

  /** @returns whether there is news; a run that was deleted is forgotten */
  #poll(run: RunView): boolean {
    try {
      return run.poll();
    } catch {
      this.#runs.delete(run.id);
      void run.close();
      return true;
    }
  }
}
