/**
 * Many different texts, each with a number, from 0 in the order in which they came: a million of them take what their bytes
 * take, and no objects.
 */
export class Texts {
  #bytes = Buffer.alloc(2 ** 12);
  #used = 0;
  /** Where text i begins; it ends where the next one begins. */
  #starts = new Float64Array(2 ** 6);
  /** Open addressing: the number of a text plus one, 0 where nothing is. */
  #slots = new Uint32Array(2 ** 8);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Numbers of all texts. */
  *keys(): Generator<number> {
    for (let number = 0; number < this.#size; number++) yield number;
  }

  /** The number of a text, which is `size` before the call where it is new. */
  add(text: string): number {
    const end = this.#write(text);
    const slot = this.#slotOf(this.#used, end);
    const known = this.#slots[slot]!;
    if (known > 0) return known - 1;
    const number = this.#size++;
    this.#starts[number] = this.#used;
    this.#used = end;
    if (this.#size + 1 >= this.#starts.length) this.#starts = grown(this.#starts);
    this.#starts[this.#size] = end;
    this.#slots[slot] = this.#size;
    if (this.#size * 2 > this.#slots.length) this.#rehash();
    return number;
  }

  /** The number of a text; undefined where it is not there. */
  find(text: string): number | undefined {
    const known = this.#slots[this.#slotOf(this.#used, this.#write(text))]!;
    return known > 0 ? known - 1 : undefined;
  }

  at(number: number): string {
    const text = this.#bytes.toString('utf8', this.#starts[number], this.#starts[number + 1]);
    return text.startsWith(ESCAPE) ? (JSON.parse(text.slice(1)) as string) : text;
  }

  /** Writes a text behind those that are there; returns where it ends. */
  #write(text: string): number {
    const most = this.#used + text.length * 9;
    if (most > this.#bytes.length) {
      const bytes = Buffer.alloc(Math.max(most, this.#bytes.length * 2));
      this.#bytes.copy(bytes, 0, 0, this.#used);
      this.#bytes = bytes;
    }
    // UTF-8 has no half of a surrogate pair: JSON does.
    const isPlain = text.isWellFormed() && !text.startsWith(ESCAPE);
    return this.#used + this.#bytes.write(isPlain ? text : ESCAPE + JSON.stringify(text), this.#used);
  }

  #slotOf(start: number, end: number): number {
    const mask = this.#slots.length - 1;
    for (let slot = hashOf(this.#bytes, start, end) & mask; ; slot = (slot + 1) & mask) {
      const known = this.#slots[slot]!;
      if (known === 0) return slot;
      const [from, to] = [this.#starts[known - 1]!, this.#starts[known]!];
      if (to - from === end - start && this.#bytes.compare(this.#bytes, from, to, start, end) === 0) return slot;
    }
  }

  #rehash(): void {
    this.#slots = new Uint32Array(this.#slots.length * 2);
    const mask = this.#slots.length - 1;
    for (let number = 0; number < this.#size; number++) {
      let slot = hashOf(this.#bytes, this.#starts[number]!, this.#starts[number + 1]!) & mask;
      while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
      this.#slots[slot] = number + 1;
    }
  }
}

const ESCAPE = '\0';

/** FNV-1a, its bits mixed. */
function hashOf(bytes: Buffer, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) >>> 0;
}

/** A typed array of twice the length. */
export function grown<T extends Float64Array | Uint32Array>(array: T): T {
  const larger = new (array.constructor as new (length: number) => T)(array.length * 2);
  larger.set(array);
  return larger;
}

/** Numbers in a typed array that grows. */
export class Numbers {
  #values = new Float64Array(2 ** 6);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(value: number): void {
    if (this.#size === this.#values.length) this.#values = grown(this.#values);
    this.#values[this.#size++] = value;
  }

  /** The numbers so far. */
  get values(): Float64Array {
    return this.#values.subarray(0, this.#size);
  }
}
