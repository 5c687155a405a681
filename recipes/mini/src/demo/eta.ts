/** How long the rest of the demo takes, from how long its parts took so far. */

export interface Stage {
  readonly name: string;
  /** Work that runs at a speed of its own on each machine. */
  readonly kind: 'data' | 'evaluate' | 'train';
  readonly units: number;
  /** Expected on the machine that the demo was made on, for all units. */
  readonly seconds: number;
}

/** Share of all expected time that measurements must outweigh: the first unit of a stage says little. */
const DOUBT = 0.05;

interface Work {
  spent: number;
  expected: number;
}

export class Eta {
  readonly #stages: readonly Stage[];
  readonly #clock: () => number;
  readonly #work = new Map<Stage['kind'], Work>();
  #current = 0;
  #done = 0;
  #since = 0;

  /** @param clock in seconds */
  constructor(stages: readonly Stage[], clock = () => performance.now() / 1000) {
    this.#stages = stages;
    this.#clock = clock;
  }

  /** A stage begins, `done` of its units having been done in an earlier session. */
  begin(name: string, done = 0): void {
    this.#current = this.#stages.findIndex((stage) => stage.name === name);
    [this.#done, this.#since] = [done, this.#clock()];
  }

  /** So many units of the current stage are done. */
  advance(done: number): void {
    const stage = this.#stages[this.#current];
    if (!stage || done <= this.#done) return;
    const now = this.#clock();
    const work = this.#work.get(stage.kind) ?? { spent: 0, expected: 0 };
    work.spent += now - this.#since;
    work.expected += (stage.seconds * (done - this.#done)) / stage.units;
    this.#work.set(stage.kind, work);
    [this.#done, this.#since] = [done, now];
  }

  /** Seconds that the current stage and those after it will take. */
  get remaining(): number {
    return this.#stages.slice(this.#current).reduce((sum, { kind, seconds, units }, i) => {
      const left = i === 0 ? (units - this.#done) / units : 1;
      return sum + seconds * left * this.#slowness(kind);
    }, 0);
  }

  /** Measured over expected time: of this kind of work where some was done, else of everything done. */
  #slowness(kind: Stage['kind']): number {
    const own = this.#work.get(kind);
    const works = own ? [own] : [...this.#work.values()];
    const doubt = DOUBT * this.#stages.reduce((sum, { seconds }) => sum + seconds, 0);
    const total = (key: keyof Work): number => works.reduce((sum, work) => sum + work[key], doubt);
    return total('spent') / total('expected');
  }
}
