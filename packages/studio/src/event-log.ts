/**
 * The events of a run as they are written. The file grows; where a run is resumed it is cut back and grows again in place,
 * perhaps past where it was: the last line that was read tells whether what is known still stands.
 */
import { constants, closeSync, fstatSync, openSync, readSync } from 'node:fs';
import path from 'node:path';
import { eventOf, type RunEvent } from '@visurf/core/records';
import { EVENTS } from './runs.ts';

const NEWLINE = 10;
/** Bytes that are read at a time. */
const CHUNK = 1 << 20;
/** A longer line is damage. */
const LONGEST = 8 << 20;
/** Bytes of what was read last that are compared. */
const TAIL = 64 << 10;

export class EventLog {
  readonly #file: string;
  #events: RunEvent[] = [];
  #damaged: string[] = [];
  #offset = 0;
  #lines = 0;
  #last: Buffer = Buffer.alloc(0);
  /** Amid a line that is longer than lines are. */
  #isTorn = false;
  #generation = 0;

  constructor(directory: string) {
    this.#file = path.join(directory, EVENTS);
  }

  get events(): readonly RunEvent[] {
    return this.#events;
  }

  /** Lines that are no events: `events.jsonl:LINE ...` */
  get damaged(): readonly string[] {
    return this.#damaged;
  }

  /** Goes up where what was read is no longer what the file says. */
  get generation(): number {
    return this.#generation;
  }

  /** Bytes that were read: they change with every event. */
  get size(): number {
    return this.#offset;
  }

  /**
   * Takes up what is new.
   * @returns whether anything changed
   * @throws where the file is gone
   */
  poll(): boolean {
    // A pipe would wait for its writer.
    const file = openSync(this.#file, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const { size } = fstatSync(file);
      const stands = size >= this.#offset && this.#lastStands(file);
      if (!stands) this.#forget();
      const before = this.#offset;
      this.#take(file, size);
      return !stands || this.#offset !== before;
    } finally {
      closeSync(file);
    }
  }

  #forget(): void {
    [this.#events, this.#damaged, this.#offset, this.#lines, this.#last] = [[], [], 0, 0, Buffer.alloc(0)];
    this.#isTorn = false;
    this.#generation++;
  }

  #lastStands(file: number): boolean {
    const now = Buffer.alloc(this.#last.length);
    readSync(file, now, 0, now.length, this.#offset - now.length);
    return now.equals(this.#last);
  }

  #take(file: number, size: number): void {
    let rest = Buffer.alloc(0);
    let at = this.#offset;
    while (at < size) {
      const chunk = Buffer.alloc(Math.min(CHUNK, size - at));
      const read = readSync(file, chunk, 0, chunk.length, at);
      if (read === 0) break;
      at += read;
      rest = Buffer.concat([rest, chunk.subarray(0, read)]);
      let start = 0;
      for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE, start)) {
        this.#line(rest.subarray(start, end + 1));
        start = end + 1;
      }
      rest = rest.subarray(start);
      if (!this.#isTorn && rest.length <= LONGEST) continue;
      if (!this.#isTorn) this.#damage(this.#lines + 1);
      this.#isTorn = true;
      this.#pass(rest);
      rest = Buffer.alloc(0);
    }
  }

  #line(bytes: Buffer): void {
    const wasTorn = this.#isTorn;
    this.#isTorn = false;
    this.#pass(bytes);
    this.#lines += 1;
    const event = wasTorn ? undefined : eventOf(bytes.toString('utf8'));
    if (event) this.#events.push(event);
    else if (!wasTorn) this.#damage(this.#lines);
  }

  #pass(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#offset += bytes.length;
    this.#last = Buffer.from(bytes.subarray(-TAIL));
  }

  #damage(line: number): void {
    this.#damaged.push(`${EVENTS}:${line} is damaged, and left out`);
  }
}
