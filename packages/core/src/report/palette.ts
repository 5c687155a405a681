/** One colour per policy, the same in the table, the curves and the pictures. */

/** Classes `c0` to `c5` of the style sheet; `c0` is grey, for what the others are compared to. */
const COLORS = 6;

export class Palette {
  readonly #names: string[] = [];
  readonly #colors: number;

  /** Colours follow the order of the names. */
  constructor(names: Iterable<string>, colors = COLORS) {
    this.#colors = colors;
    for (const name of names) this.of(name);
  }

  /** The class of a name. */
  of(name: string): string {
    let index = this.#names.indexOf(name);
    if (index < 0) index = this.#names.push(name) - 1;
    return `c${index < this.#colors ? index : 1 + ((index - 1) % (this.#colors - 1))}`;
  }
}
