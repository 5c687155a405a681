/** Copies of what lies in object stores, for programs that read: in a folder of their own, which may be deleted. */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { UserError } from '../errors.ts';
import { stepName } from '../run/checkpoint.ts';
import { localFolder, parseAddress, type StoreAddress } from '../store/address.ts';
import { ObjectStore } from '../store/store.ts';
import { fetchRun, pullRecords } from './fetch.ts';
import { CHECKPOINTS, checkpointKey, CONFIG, MANIFEST } from './layout.ts';

/** Opens the store of an address; what it refuses is said in words. */
async function withStore<T>(address: StoreAddress, work: (store: ObjectStore) => Promise<T>): Promise<T> {
  const store = await ObjectStore.open(address);
  try {
    return await work(store);
  } catch (error) {
    throw store.explain(error);
  } finally {
    store.close();
  }
}

/**
 * The directory of a model in a store: of a run its best checkpoint, or the last where the address ends with `/last`. It is
 * fetched where it is not here already.
 * @throws UserError where there is none
 */
export async function fetchModel(name: string): Promise<string> {
  const [, run, end] = /^(.*?)(?:\/(best|last))?\/*$/s.exec(name)!;
  const address = parseAddress(run!);
  const wanted = end === 'last' ? 'last' : 'best';
  return await withStore(address, async (store) => {
    const directory = path.join(localFolder(address, 'read'), wanted);
    const pointed = (await store.read(wanted))?.body ?? (await store.read('last'))?.body;
    const [, step] = /^checkpoints\/(\d{6,})\s*$/.exec(pointed?.toString() ?? '') ?? [];
    if (step !== undefined) {
      const here = path.join(directory, CHECKPOINTS, stepName(Number(step)));
      const manifest = await store.read(checkpointKey(Number(step), MANIFEST));
      if (existsSync(here) && manifest?.body.equals(readFileSync(path.join(here, MANIFEST)))) return here;
    }
    rmSync(directory, { recursive: true, force: true });
    const steps = await fetchRun(store, directory, { checkpoints: wanted, records: false });
    if (steps.length > 0) return path.join(directory, CHECKPOINTS, stepName(steps.at(-1)!));
    rmSync(directory, { recursive: true, force: true });
    throw new UserError('the run has no checkpoint yet', {
      where: name,
      remedy: 'Wait for its first (checkpoint.every).',
    });
  });
}

/**
 * Fetches a run: its records, its best checkpoint and its last.
 * @returns steps of the checkpoints
 * @throws UserError where there is none, or the directory is there
 */
export async function fetchStored(
  name: string,
  directory: string,
  options: Pick<Parameters<typeof fetchRun>[2], 'onWarning' | 'onProgress'> = {},
): Promise<number[]> {
  if (existsSync(directory))
    throw new UserError('is there already', { where: directory, remedy: 'Choose another folder.' });
  return await withStore(parseAddress(name), (store) =>
    fetchRun(store, path.resolve(directory), { ...options, checkpoints: 'best and last' }),
  );
}

/** Records of the runs at an address or below it, as a folder that follows them. */
export class RecordCopies {
  readonly folder: string;
  readonly #store: ObjectStore;
  readonly #runs = new Map<string, ObjectStore>();

  /** Fetches what there is. @throws UserError where there is no run */
  static async open(name: string): Promise<RecordCopies> {
    const copies = new RecordCopies(await ObjectStore.open(parseAddress(name)));
    try {
      await copies.pull();
    } catch (error) {
      throw copies.#store.explain(error);
    }
    if (copies.#runs.size > 0) return copies;
    throw new UserError('there is no run', { where: name, remedy: 'Check the bucket and the prefix.' });
  }

  private constructor(store: ObjectStore) {
    this.#store = store;
    this.folder = path.join(localFolder(store.address, 'read'), 'records', store.address.prefix.split('/').at(-1)!);
  }

  /** Takes up what is new. @throws what the store answers with */
  async pull(): Promise<void> {
    const objects = await this.#store.list();
    const places = objects.flatMap(({ key }) => /^(?:(.*)\/)?events\.jsonl$/.exec(key)?.slice(1) ?? []);
    const isRun = (place: string): boolean => objects.some(({ key }) => key === join(place, CONFIG));
    for (const place of places.map((each: string | undefined) => each ?? '')) {
      if (!isRun(place) || /(^|\/)branches\//.test(`${place}/`)) continue;
      const { bucket, prefix } = this.#store.address;
      const store = this.#runs.get(place) ?? (await ObjectStore.open({ bucket, prefix: join(prefix, place) }));
      this.#runs.set(place, store);
      const own = objects.flatMap(({ key, bytes }) =>
        place === '' || key.startsWith(`${place}/`)
          ? [{ key: key.slice(place === '' ? 0 : place.length + 1), bytes }]
          : [],
      );
      await pullRecords(store, path.join(this.folder, place), own);
    }
  }

  /** What went wrong, in words. */
  explain(error: unknown): unknown {
    return this.#store.explain(error);
  }

  close(): void {
    for (const store of [this.#store, ...this.#runs.values()]) store.close();
  }
}

const join = (...parts: readonly string[]): string => parts.filter((part) => part !== '').join('/');
