/**
 * Chrome's trace-event format (JSON array of complete events), which chrome://tracing and Perfetto open. Events go to the
 * file while they come; after every write the file is whole JSON, so a run that is stopped leaves one that opens.
 */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';

const end = '\n]\n';
/** Characters that are collected before they are written. */
const block = 1 << 16;

export class TraceFile {
  readonly #file: number;
  readonly #tracks: readonly string[];
  /** Where the next event goes: over the end of the array. */
  #at = 0;
  #pending = '';

  /** @param tracks rows of the picture, from the top */
  constructor(path: string, tracks: readonly string[]) {
    this.#file = openSync(path, 'w');
    this.#tracks = tracks;
    const names = tracks.map((name, i) => ({ ph: 'M', name: 'thread_name', pid: 1, tid: i + 1, args: { name } }));
    this.#pending = `[\n${names.map((each) => JSON.stringify(each)).join(',\n')}`;
    this.flush();
  }

  /** Bytes of the file when all is written. */
  get size(): number {
    return this.#at + this.#pending.length + end.length;
  }

  /** A span of time; start and duration in milliseconds of `performance.now()`. */
  span(track: string, name: string, start: number, duration: number): void {
    const tid = this.#tracks.indexOf(track) + 1;
    const microseconds = (value: number): string => (1000 * value).toFixed(3);
    this.#pending +=
      `,\n{"ph":"X","name":${JSON.stringify(name)},"pid":1,"tid":${tid},` +
      `"ts":${microseconds(start)},"dur":${microseconds(duration)}}`;
    if (this.#pending.length >= block) this.flush();
  }

  flush(): void {
    const bytes = Buffer.from(this.#pending + end);
    writeSync(this.#file, bytes, 0, bytes.length, this.#at);
    this.#at += bytes.length - end.length;
    this.#pending = '';
    ftruncateSync(this.#file, this.#at + end.length);
  }

  close(): void {
    this.flush();
    closeSync(this.#file);
  }
}
