/**
 * A disk on which a process can die at any call that changes a file: before it, or in the middle of it. A power cut then
 * takes, of everything that was not synced, whatever chance says: entries of directories and contents of files apart, as
 * file systems are allowed to.
 */
import fs, { type BigIntStats } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** A folder in memory where there is one: trials on a disk wait for it. */
export const memory = (): string => (fs.existsSync('/dev/shm') ? '/dev/shm' : tmpdir());

/** The calls that change files, and with it the only ones that the code under test may use for that. */
export const CHANGES = [
  ...['openSync', 'writeSync', 'writeFileSync', 'truncateSync', 'fsyncSync', 'mkdirSync', 'renameSync'],
  ...['rmSync', 'symlinkSync', 'linkSync'],
] as const;

export class Dead extends Error {
  constructor() {
    super('the process is dead');
  }
}

/** What the disk holds at a path: a file or directory by its identity, or a link. */
type Entry =
  { readonly kind: 'file' | 'directory'; readonly id: string } | { readonly kind: 'link'; readonly to: string };
type Entries = ReadonlyMap<string, Entry>;

/** What was there at the last sync, and everything that it has been since; the last one is what is there. */
type Versions<T> = T[];

const real = { ...fs };
const idOf = ({ ino, birthtimeNs }: BigIntStats): string => `${ino}:${birthtimeNs}`;

export interface Death {
  /** The number of the call, from 1. */
  readonly at: number;
  /** In the middle of it: half of the bytes are written, half of a folder is removed. */
  readonly half: boolean;
  /** From then on there is no room, which is an error to the process, and every write is a short one. */
  readonly isFull?: boolean;
}

export class FailingDisk {
  readonly root: string;
  /** Of calls that change a file. */
  calls = 0;
  readonly #death: Death | undefined;
  readonly #hasPower: boolean;
  readonly #directories = new Map<string, Versions<Entries>>();
  readonly #files = new Map<string, Versions<Buffer>>();
  readonly #open = new Set<number>();
  #isDead = false;

  /**
   * @param root what lies below it when the disk is made is synced
   * @param hasPower false: it remembers what a power cut would take
   */
  constructor(root: string, death?: Death, hasPower = true) {
    this.root = root;
    this.#death = death;
    this.#hasPower = hasPower;
    this.#look(root);
  }

  /** Calls a process that may die. @returns whether it did */
  async run(life: () => Promise<void>): Promise<boolean> {
    this.#patch();
    try {
      await life();
    } catch (error) {
      if (!this.#isDead) throw error;
    } finally {
      for (const name of [...CHANGES, 'closeSync'] as const) Object.assign(fs, { [name]: real[name] });
      syncBuiltinESMExports();
      if (this.#isDead) for (const file of this.#open) real.closeSync(file);
    }
    return this.#isDead;
  }

  /** Makes at `target` what a power cut leaves. @param random the next number of 0..1: 0 loses all that may be lost */
  cutPower(target: string, random: () => number): void {
    const pick = <T>(versions: Versions<T>): T => versions[Math.floor(random() * versions.length)]!;
    const make = (id: string, place: string): void => {
      real.mkdirSync(place);
      for (const [name, entry] of pick(this.#directories.get(id) ?? [new Map<string, Entry>()])) {
        const file = path.join(place, name);
        if (entry.kind === 'link') real.symlinkSync(entry.to, file);
        else if (entry.kind === 'directory') make(entry.id, file);
        else real.writeFileSync(file, this.#left(this.#files.get(entry.id) ?? [Buffer.alloc(0)], pick, random));
      }
    };
    make(idOf(real.lstatSync(this.root, { bigint: true })), target);
  }

  /** A version, or as long as the last one with zeros behind what was synced. */
  #left(versions: Versions<Buffer>, pick: (of: Versions<Buffer>) => Buffer, random: () => number): Buffer {
    const [synced, last] = [versions[0]!, versions.at(-1)!];
    if (versions.length === 1 || random() < 0.7) return pick(versions);
    return Buffer.concat([synced, Buffer.alloc(Math.max(0, last.length - synced.length))]);
  }

  #patch(): void {
    const change = (
      place: string,
      needsRoom: boolean,
      act: () => unknown,
      half: () => void = () => undefined,
    ): unknown => {
      if (!place.startsWith(this.root)) return act();
      if (this.#isDead) throw new Dead();
      const { at = Infinity, half: isHalf, isFull } = this.#death ?? {};
      if (++this.calls >= at) {
        if (isFull) return needsRoom ? noRoom(half) : act();
        if (isHalf) half();
        this.#note(place);
        this.#isDead = true;
        throw new Dead();
      }
      const result = act();
      this.#note(place);
      return result;
    };
    const noRoom = (half: () => void): never => {
      half();
      throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    };
    const placeOf = (file: number): string => real.readlinkSync(`/proc/self/fd/${file}`);
    const halved = (data: string | Uint8Array): Buffer => {
      const bytes = Buffer.from(data);
      return bytes.subarray(0, bytes.length >> 1);
    };
    const patched: Record<(typeof CHANGES)[number], unknown> = {
      openSync: (file: string, flags = 'r') => {
        const open = (): number => {
          const opened = real.openSync(file, flags);
          this.#open.add(opened);
          return opened;
        };
        return flags === 'r' ? real.openSync(file, flags) : change(file, !real.existsSync(file), open);
      },
      writeSync: (file: number, data: string | Uint8Array, ...rest: never[]) =>
        change(
          placeOf(file),
          true,
          () => real.writeSync(file, data as string, ...rest),
          () => real.writeSync(file, halved(data)),
        ),
      writeFileSync: (file: string, data: string | Uint8Array) =>
        change(
          file,
          true,
          () => real.writeFileSync(file, data),
          () => real.writeFileSync(file, halved(data)),
        ),
      truncateSync: (file: string, bytes: number) => change(file, false, () => real.truncateSync(file, bytes)),
      fsyncSync: (file: number) =>
        change(placeOf(file), false, () => this.#sync(real.fstatSync(file, { bigint: true }))),
      mkdirSync: (directory: string, options?: fs.MakeDirectoryOptions) => {
        if (options?.recursive && !real.existsSync(path.dirname(directory)))
          fs.mkdirSync(path.dirname(directory), options);
        if (options?.recursive && real.existsSync(directory)) return undefined;
        return change(directory, true, () => real.mkdirSync(directory));
      },
      renameSync: (from: string, to: string) =>
        change(from, false, () => {
          real.renameSync(from, to);
          if (path.dirname(from) === path.dirname(to)) return;
          // Into another directory: file systems make no half of that.
          for (const place of this.#hasPower ? [] : [from, to]) {
            this.#noteDirectory(path.dirname(place));
            this.#sync(real.statSync(path.dirname(place), { bigint: true }));
          }
        }),
      rmSync: (file: string, options?: fs.RmOptions) =>
        change(
          file,
          false,
          () => real.rmSync(file, options),
          () => {
            if (!real.existsSync(file) || !real.statSync(file).isDirectory()) return;
            const names = real.readdirSync(file);
            for (const name of names.slice(0, names.length >> 1)) real.rmSync(path.join(file, name), options);
            this.#look(file);
          },
        ),
      symlinkSync: (to: string, file: string) => change(file, true, () => real.symlinkSync(to, file)),
      linkSync: (from: string, to: string) => change(to, true, () => real.linkSync(from, to)),
    };
    Object.assign(fs, patched, {
      closeSync: (file: number) => {
        this.#open.delete(file);
        real.closeSync(file);
      },
    });
    syncBuiltinESMExports();
  }

  #sync(stats: BigIntStats): void {
    const versions = (stats.isDirectory() ? this.#directories : this.#files).get(idOf(stats));
    versions?.splice(0, versions.length - 1);
  }

  /** Notes what has become of a place and of the directory that it is in. */
  #note(place: string): void {
    if (this.#hasPower) return;
    const directory = path.dirname(place);
    if (directory.startsWith(this.root)) this.#noteDirectory(directory);
    const stats = real.lstatSync(place, { bigint: true, throwIfNoEntry: false });
    if (stats?.isDirectory()) this.#noteDirectory(place);
    if (!stats?.isFile()) return;
    const versions = this.#files.get(idOf(stats)) ?? [Buffer.alloc(0)];
    const content = real.readFileSync(place);
    if (!versions.at(-1)!.equals(content)) versions.push(content);
    this.#files.set(idOf(stats), versions);
  }

  #noteDirectory(directory: string): void {
    const stats = real.lstatSync(directory, { bigint: true, throwIfNoEntry: false });
    if (!stats) return;
    const versions = this.#directories.get(idOf(stats)) ?? [new Map<string, Entry>()];
    versions.push(entriesOf(directory));
    this.#directories.set(idOf(stats), versions);
  }

  /** Takes what is there for synced. */
  #look(directory: string): void {
    if (this.#hasPower) return;
    const entries = entriesOf(directory);
    const stats = real.lstatSync(directory, { bigint: true });
    this.#directories.set(idOf(stats), [entries]);
    for (const [name, entry] of entries) {
      const file = path.join(directory, name);
      if (entry.kind === 'directory') this.#look(file);
      if (entry.kind === 'file') this.#files.set(entry.id, [real.readFileSync(file)]);
    }
  }
}

function entriesOf(directory: string): Entries {
  return new Map(
    real.readdirSync(directory).map((name): [string, Entry] => {
      const file = path.join(directory, name);
      const stats = real.lstatSync(file, { bigint: true });
      if (stats.isSymbolicLink()) return [name, { kind: 'link', to: real.readlinkSync(file) }];
      return [name, { kind: stats.isDirectory() ? 'directory' : 'file', id: idOf(stats) }];
    }),
  );
}
