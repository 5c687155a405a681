/** A run as the studio sees it: its events as they come, its groups through an index, its samples and evaluations. */
import { readdirSync, realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import {
  readText,
  type Box,
  type GroupRecord,
  type Point,
  type RunEvent,
  type SampleRecord,
} from '@visurf/core/records';
import { parse } from 'yaml';
import { columnsOf, decimate, type Columns, type Curve } from './curves.ts';
import { EventLog } from './event-log.ts';
import type { GroupAnswer, GroupQuery, GroupRow, Suspect } from './group-query.ts';
import type { Histogram, Measured } from './histograms.ts';
import type { Ask } from './index-thread.ts';
import type { RunFolder } from './runs.ts';
import { summarize, type Summary } from './summary.ts';

/** Bytes of a file that is read as a whole. */
const LARGEST = 256 << 20;

export interface RunSummary extends Summary {
  readonly id: string;
  readonly name: string;
  readonly paradigm: string | undefined;
  readonly model: string | undefined;
  readonly seed: number | undefined;
}

/** One answer of an evaluation. */
export interface AnswerRecord {
  readonly id: string;
  readonly text: string;
  readonly boxes: readonly Box[];
  readonly points: readonly Point[];
  readonly reward?: number;
  readonly evaluation?: Readonly<Record<string, unknown>>;
}

export class RunView {
  readonly id: string;
  readonly name: string;
  readonly directory: string;
  readonly #log: EventLog;
  readonly #indexFile: string;
  #worker: Worker | undefined;
  #asked = 0;
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  #columns: { readonly generation: number; readonly events: number; readonly of: Columns } | undefined;
  #samples: { readonly state: string; readonly byId: ReadonlyMap<string, SampleRecord> } | undefined;
  #config: { readonly state: string; readonly text: string; readonly known: Record<string, unknown> } | undefined;

  /** @param cache folder for indexes; unset: they are in memory alone */
  constructor({ id, name, directory }: RunFolder, cache?: string) {
    [this.id, this.name, this.directory] = [id, name, directory];
    this.#log = new EventLog(directory);
    this.#indexFile = cache === undefined ? ':memory:' : path.join(cache, `${id}.sqlite`);
  }

  get events(): readonly RunEvent[] {
    return this.#log.events;
  }

  get damaged(): readonly string[] {
    return this.#log.damaged;
  }

  /** Changes with every event. */
  get version(): string {
    return `${this.#log.generation}.${this.#log.size}`;
  }

  /** @returns whether there is news. @throws where the run is gone */
  poll(): boolean {
    const { generation } = this.#log;
    const isNew = this.#log.poll();
    if (this.#log.generation !== generation && this.#worker) void this.#ask({ kind: 'recheck' });
    return isNew;
  }

  get config(): { readonly text: string; readonly known: Readonly<Record<string, unknown>> } {
    const file = path.join(this.directory, 'config.yaml');
    const state = stateOf(file);
    if (this.#config?.state !== state) {
      const text = state === '' ? '' : readText(file);
      this.#config = { state, text, known: knownOf(text) };
    }
    return this.#config;
  }

  summary(): RunSummary {
    const { known } = this.config;
    const number = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined);
    const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
    const model = text(known['model']);
    return {
      id: this.id,
      name: this.name,
      paradigm: text(known['paradigm']),
      model: model === undefined ? undefined : model.split(/[/\\]/).slice(-2).join('/'),
      seed: number(known['seed']),
      ...summarize(this.events, number(known['steps'])),
    };
  }

  /** The model that the run was started with. */
  get base(): string | undefined {
    const { model } = this.config.known;
    return typeof model === 'string' ? model : undefined;
  }

  curves(points: number): Record<string, Curve> {
    const { generation, events } = this.#log;
    const known = this.#columns?.generation === generation ? this.#columns : { events: 0, of: undefined };
    const of = columnsOf(events.slice(known.events), known.of);
    this.#columns = { generation, events: events.length, of };
    return Object.fromEntries([...of].map(([name, column]) => [name, decimate(column, points)]));
  }

  groups(query: GroupQuery): Promise<GroupAnswer> {
    return this.#ask({ kind: 'query', query }) as Promise<GroupAnswer>;
  }

  group(step: number, place: number): Promise<GroupRecord | undefined> {
    return this.#ask({ kind: 'read', step, place }) as Promise<GroupRecord | undefined>;
  }

  history(id: string): Promise<readonly GroupRow[]> {
    return this.#ask({ kind: 'history', id }) as Promise<readonly GroupRow[]>;
  }

  histogram(what: Measured, columns: number): Promise<Histogram> {
    return this.#ask({ kind: 'histogram', what, columns }) as Promise<Histogram>;
  }

  suspects(limit: number): Promise<readonly Suspect[]> {
    return this.#ask({ kind: 'suspects', limit }) as Promise<readonly Suspect[]>;
  }

  sample(id: string): SampleRecord | undefined {
    const file = path.join(this.directory, 'samples.jsonl');
    const state = stateOf(file);
    if (this.#samples?.state !== state) {
      const records = state === '' ? [] : linesOf<SampleRecord>(file, ({ id: own }) => typeof own === 'string');
      this.#samples = { state, byId: new Map(records.map((record) => [record.id, record])) };
    }
    return this.#samples.byId.get(id);
  }

  /** Steps that were evaluated, in order. */
  evaluations(): number[] {
    try {
      return readdirSync(path.join(this.directory, 'evaluations'))
        .flatMap((name) => (/^\d{6,}\.jsonl$/.test(name) ? [Number.parseInt(name, 10)] : []))
        .sort((a, b) => a - b);
    } catch {
      return [];
    }
  }

  answers(step: number): AnswerRecord[] {
    const file = path.join(this.directory, 'evaluations', `${String(step).padStart(6, '0')}.jsonl`);
    if (stateOf(file) === '') return [];
    const isAnswer = ({ id, text }: AnswerRecord): boolean => typeof id === 'string' && typeof text === 'string';
    return linesOf<AnswerRecord>(file, isAnswer).map((answer) => ({ ...answer, ...marksOf(answer) }));
  }

  /** The file of a picture that the run has kept, wherever links lead, if that is in the run. */
  picture(name: string): string | undefined {
    if (!/^[0-9a-f]{16,64}\.webp$/.test(name)) return undefined;
    try {
      const real = realpathSync(path.join(this.directory, 'images', name));
      const isInside = real.startsWith(`${realpathSync(this.directory)}${path.sep}`);
      return isInside && statSync(real).isFile() ? real : undefined;
    } catch {
      return undefined;
    }
  }

  async close(): Promise<void> {
    await this.#worker?.terminate();
    this.#worker = undefined;
  }

  #ask(ask: Ask): Promise<unknown> {
    const worker = (this.#worker ??= this.#start());
    const number = this.#asked++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject });
      // A question that waits keeps the process alive, an idle index does not.
      worker.ref();
      worker.postMessage({ number, ask });
    });
  }

  #start(): Worker {
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    const worker = new Worker(new URL(`./index-thread.${extension}`, import.meta.url), {
      workerData: { directory: this.directory, file: this.#indexFile },
      execArgv: ['--disable-warning=ExperimentalWarning'],
    });
    worker.on('message', ({ number, answer, error }: { number: number; answer?: unknown; error?: string }) => {
      const waiting = this.#waiting.get(number);
      this.#waiting.delete(number);
      if (this.#waiting.size === 0) worker.unref();
      if (error === undefined) waiting?.resolve(answer);
      else waiting?.reject(new Error(error));
    });
    worker.on('error', (error: Error) => {
      for (const waiting of this.#waiting.values()) waiting.reject(error);
      this.#waiting.clear();
      this.#worker = undefined;
    });
    worker.unref();
    return worker;
  }
}

/** Of answers that point at nothing they may be left out. */
const marksOf = ({ boxes, points }: Partial<AnswerRecord>): Pick<AnswerRecord, 'boxes' | 'points'> => ({
  ...{ boxes: boxes ?? [], points: points ?? [] },
});

/** Changes with the file; empty where there is none, or one that does not end. */
function stateOf(file: string): string {
  try {
    const stat = statSync(file);
    const { size, mtimeMs, ino } = stat;
    return !stat.isFile() || size > LARGEST ? '' : `${size} ${mtimeMs} ${ino}`;
  } catch {
    return '';
  }
}

function knownOf(text: string): Record<string, unknown> {
  try {
    const known = parse(text, { maxAliasCount: 0, logLevel: 'error' }) as unknown;
    return typeof known === 'object' && known !== null ? (known as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** The whole lines of a file that are records. */
function linesOf<T>(file: string, isRecord: (record: T) => boolean): T[] {
  return readText(file)
    .split('\n')
    .slice(0, -1)
    .flatMap((line): T[] => {
      try {
        const record = JSON.parse(line) as T | null;
        return record !== null && isRecord(record) ? [record] : [];
      } catch {
        return [];
      }
    });
}
