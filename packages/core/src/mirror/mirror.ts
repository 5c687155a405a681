/**
 * A run's directory, sent to an object store while it grows. Whatever moment it ends at, the store holds a run that can be
 * gone on with: a checkpoint gets its manifest after its files, and these after the logs and groups that it stands on.
 *
 * What is to be sent is found by looking at the directory, so nothing is forgotten: a pass that fails is made again.
 */
import { existsSync, linkSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import { hasCode } from '../errors.ts';
import { checkpointSteps, manifestIn, stepName, type Manifest } from '../run/checkpoint.ts';
import type { Lease } from '../store/lease.ts';
import { LEASE } from '../store/lease.ts';
import { inParallel, type ObjectStore, type StoredObject } from '../store/store.ts';
import {
  CHECKPOINTS,
  checkpointKey,
  isOfStep,
  LOGS,
  MANIFEST,
  manifestStep,
  pieceKey,
  plainFiles,
  signature,
  stepOf,
  type Log,
} from './layout.ts';

/** Files that are sent at once. */
const PARALLEL = 8;
/** Pieces of a log, after which it is sent whole. */
const MOST_PIECES = 200;

interface LogState {
  /** Bytes that the store has. */
  sent: number;
  /** Keys of what follows the whole. */
  pieces: string[];
}

export interface MirrorOptions {
  readonly store: ObjectStore;
  readonly lease: Lease;
  readonly directory: string;
  readonly session: string;
  /** Checkpoints that the store keeps, beside the best. */
  readonly keep: number;
}

export class Mirror {
  readonly #options: MirrorOptions;
  /** Signatures of files as the store has them. */
  readonly #sent = new Map<string, string>();
  readonly #logs = new Map<Log, LogState>();
  /** Steps whose checkpoints are whole in the store, with their manifests; undefined: it is not here any more. */
  readonly #whole = new Map<number, Manifest | undefined>();
  /** Once for both who send: what one has sent the other would take for what was there before, and remove it. */
  #compared: Promise<void> | undefined;
  #records: Promise<unknown> = Promise.resolve();

  constructor(options: MirrorOptions) {
    this.#options = options;
  }

  /**
   * Sends what is new, but for checkpoints.
   * @param whole logs become one object each, as before a checkpoint and at the end
   * @throws what the store answers with; calling it again goes on
   */
  sendRecords(whole = false): Promise<void> {
    const next = this.#records.then(() => this.#sendRecords(whole));
    this.#records = next.catch(() => undefined);
    return next;
  }

  /** Sends the latest checkpoint and the best, and removes those that are no longer kept. */
  async sendCheckpoints(): Promise<void> {
    await this.#compare();
    for (;;) {
      // Anew each time: a run that is faster than its store has a later one by now.
      const step = this.#unsentCheckpoints()[0];
      if (step === undefined) break;
      await this.#sendCheckpoint(step);
    }
    await this.#prune();
  }

  /** Files that the store does not have as they are. */
  unsent(): string[] {
    const { directory } = this.#options;
    const files = plainFiles(directory).filter(
      (name) => this.#sent.get(name) !== signature(path.join(directory, name)),
    );
    const logs = LOGS.filter((log) => {
      const size = statSync(path.join(directory, log), { throwIfNoEntry: false })?.size ?? 0;
      return size !== (this.#logs.get(log)?.sent ?? 0);
    });
    return [...logs, ...files, ...this.#unsentCheckpoints().map((step) => checkpointKey(step))];
  }

  async #sendRecords(whole: boolean): Promise<void> {
    await this.#compare();
    const { directory, store, lease } = this.#options;
    await lease.check();
    const isNew = (name: string): boolean => this.#sent.get(name) !== signature(path.join(directory, name));
    const names = plainFiles(directory).filter(isNew);
    const [first, others] = [
      names.filter((name) => name === 'config.yaml'),
      names.filter((name) => name !== 'config.yaml'),
    ];
    for (const group of [first, others]) {
      await inParallel(PARALLEL, group, async (name) => {
        await lease.check();
        const file = path.join(directory, name);
        const before = signature(file);
        if (before === undefined || !(await unlessGone(() => store.upload(name, file)))) return;
        this.#sent.set(name, before);
      });
    }
    for (const log of LOGS) await this.#sendLog(log, whole);
  }

  /** Sends the lines that a log has beyond what the store has of it, or all of it. */
  async #sendLog(log: Log, asked: boolean): Promise<void> {
    const { store, directory, session } = this.#options;
    const file = path.join(directory, log);
    if (!existsSync(file)) return;
    const known = this.#logs.get(log);
    const whole = asked || !known || known.pieces.length >= MOST_PIECES;
    if (whole && known?.pieces.length === 0 && statSync(file).size === known.sent) return;
    const from = whole ? 0 : known.sent;
    const body = await wholeLines(file, from);
    if (!whole) {
      if (body.length === 0) return;
      const key = pieceKey(log, session, from);
      await store.write(key, body);
      this.#logs.set(log, { sent: from + body.length, pieces: [...known.pieces, key] });
      return;
    }
    await store.write(log, body, { metadata: { session } });
    this.#logs.set(log, { sent: body.length, pieces: [] });
    await inParallel(PARALLEL, known?.pieces ?? [], (key) => store.remove(key));
  }

  #compare(): Promise<void> {
    this.#compared ??= this.#makeComparison().catch((error: unknown) => {
      this.#compared = undefined;
      throw error;
    });
    return this.#compared;
  }

  /** What the store has already of what is here; removes what it has that is no more. */
  async #makeComparison(): Promise<void> {
    const { store, directory, lease } = this.#options;
    await lease.check();
    const objects = await store.list();
    const latest = checkpointSteps(path.join(directory, CHECKPOINTS)).at(-1) ?? 0;
    const bytes = new Map(objects.map(({ key, bytes: size }) => [key, size]));
    for (const name of plainFiles(directory)) {
      // Other files may have changed and be as long as before.
      if (!isOfStep(name) && !name.startsWith('branches/')) continue;
      const file = path.join(directory, name);
      if (bytes.get(name) === statSync(file).size) this.#sent.set(name, signature(file)!);
    }
    for (const step of objects.flatMap(({ key }) => manifestStep(key) ?? [])) {
      if (await this.#isSame(step)) this.#whole.set(step, manifestIn(this.#folder(step)));
    }
    await this.#removeStale(this.#staleOf(objects, latest));
    await store.abortOthers().catch(() => undefined);
  }

  /** Objects of a course that was left, or of a checkpoint that is not whole. */
  #staleOf(objects: readonly StoredObject[], latest: number): string[] {
    const { directory } = this.#options;
    const isStale = ({ key }: StoredObject): boolean => {
      if (key === LEASE || LOGS.includes(key as Log)) return false;
      const step = stepOf(key);
      if (step !== undefined) return !this.#whole.has(step) && (step > latest || existsSync(this.#folder(step)));
      if (key.includes('.jsonl+/')) return true;
      return isOfStep(key) && !existsSync(path.join(directory, key));
    };
    return objects.filter(isStale).map(({ key }) => key);
  }

  async #removeStale(stale: readonly string[]): Promise<void> {
    // A log that came before the first config.yaml would be of no run, where this machine dies between the two.
    if (stale.length === 0) return;
    const { store, lease } = this.#options;
    const remove = async (keys: readonly string[]): Promise<void> => {
      await lease.check();
      await inParallel(PARALLEL, keys, (key) => store.remove(key));
    };
    const isManifest = (key: string): boolean => manifestStep(key) !== undefined;
    // No checkpoint may be there whose logs are cut, and no log whose end is missing.
    await remove(stale.filter(isManifest));
    for (const log of LOGS) await this.#sendLog(log, true);
    await remove(stale.filter((key) => !isManifest(key)));
  }

  /** Whether the checkpoint in the store is the one that is here; of one that is not here the store's own counts. */
  async #isSame(step: number): Promise<boolean> {
    const { directory, store } = this.#options;
    const file = path.join(this.#folder(step), MANIFEST);
    if (!existsSync(file)) {
      const latest = checkpointSteps(path.join(directory, CHECKPOINTS)).at(-1) ?? 0;
      return step <= latest;
    }
    const stored = await store.read(checkpointKey(step, MANIFEST));
    return stored?.body.equals(readFileSync(file)) ?? false;
  }

  #unsentCheckpoints(): number[] {
    const steps = checkpointSteps(path.join(this.#options.directory, CHECKPOINTS));
    const latest = steps.at(-1);
    const best = latest === undefined ? undefined : manifestIn(this.#folder(latest))?.best?.step;
    return [...new Set([latest, best])].filter((step): step is number => {
      const manifest = step === undefined ? undefined : manifestIn(this.#folder(step));
      // A checkpoint may be written anew.
      return manifest !== undefined && manifest.sha256 !== this.#whole.get(step!)?.sha256;
    });
  }

  async #sendCheckpoint(step: number): Promise<void> {
    const { store, lease } = this.#options;
    // The run may remove it before it is sent.
    using kept = keep(this.#folder(step));
    const { folder } = kept;
    const manifest = manifestIn(folder);
    if (manifest === undefined) return;
    // What it stands on, which is there by now.
    await this.sendRecords(true);
    const before = this.#whole.get(step);
    if (this.#whole.delete(step)) {
      await lease.check();
      await store.remove(checkpointKey(step, MANIFEST));
    }
    for (const [name, { sha256 }] of Object.entries(manifest.files)) {
      if (sha256 === before?.files[name]?.sha256) continue;
      await lease.check();
      await store.upload(checkpointKey(step, name), path.join(folder, name));
    }
    await lease.check();
    await store.upload(checkpointKey(step, MANIFEST), path.join(folder, MANIFEST));
    this.#whole.set(step, manifest);
    await this.#point(manifest);
  }

  async #point({ best }: Manifest): Promise<void> {
    const { store } = this.#options;
    const last = Math.max(...this.#whole.keys());
    await store.write('last', `${CHECKPOINTS}/${stepName(last)}\n`);
    if (best && this.#whole.has(best.step)) await store.write('best', `${CHECKPOINTS}/${stepName(best.step)}\n`);
  }

  async #prune(): Promise<void> {
    const { store, lease, keep: count } = this.#options;
    const steps = [...this.#whole.keys()].sort((a, b) => a - b);
    const latest = steps.at(-1);
    const best = latest === undefined ? undefined : manifestIn(this.#folder(latest))?.best?.step;
    for (const step of steps.slice(0, -count)) {
      if (step === best) continue;
      await lease.check();
      const keys = (await store.list(checkpointKey(step))).map(({ key }) => key);
      await store.remove(checkpointKey(step, MANIFEST));
      this.#whole.delete(step);
      await inParallel(PARALLEL, keys, (key) => store.remove(key));
    }
  }

  #folder(step: number): string {
    return path.join(this.#options.directory, CHECKPOINTS, stepName(step));
  }
}

/** False where the file was removed meanwhile: there is nothing to send. */
async function unlessGone(work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
    return false;
  }
}

async function wholeLines(file: string, from: number): Promise<Buffer> {
  const handle = await open(file);
  try {
    const { size } = await handle.stat();
    const buffer = Buffer.alloc(Math.max(0, size - from));
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, from);
    return buffer.subarray(0, buffer.lastIndexOf('\n', bytesRead - 1) + 1);
  } finally {
    await handle.close();
  }
}

/** Links to the files of a checkpoint, which stay where the run removes it; where there are no links, the checkpoint. */
function keep(folder: string): Disposable & { readonly folder: string } {
  const links = path.join(path.dirname(folder), `.${path.basename(folder)}.sending.tmp`);
  const remove = (): void => rmSync(links, { recursive: true, force: true });
  remove();
  try {
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const place = path.join(links, path.relative(folder, entry.parentPath));
      mkdirSync(place, { recursive: true });
      linkSync(path.join(entry.parentPath, entry.name), path.join(place, entry.name));
    }
    return { folder: links, [Symbol.dispose]: remove };
  } catch {
    remove();
    return { folder, [Symbol.dispose]: () => undefined };
  }
}
