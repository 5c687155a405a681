/** What every format is: how it is told from others, and how it is read. */
import type { ImageFinder, Source } from './source.ts';
import type { ImageStore } from './store.ts';
import type { Item } from './record.ts';

/** What a reader is given beside the files. */
export interface ReadContext {
  readonly images: ImageFinder;
  readonly store: ImageStore;
  /** Says what the user should know about the set. */
  readonly note: (message: string) => void;
  /** Names classes that the set declares, whether or not objects of them are marked. */
  readonly declare: (...classes: readonly string[]) => void;
}

/** A file by its name and its beginning. */
export interface Glance {
  readonly file: string;
  /** Letters in lower case, without the dot. */
  readonly extension: string;
  readonly head: string;
  /** The first record of JSON, where there is one. */
  readonly first: Readonly<Record<string, unknown>> | undefined;
  /** The whole document, where that is one object. */
  readonly document: Readonly<Record<string, unknown>> | undefined;
}

export interface Reader {
  readonly name: string;
  /** Whether this file is one that the reader reads. */
  readonly knows: (glance: Glance) => boolean;
  readonly read: (source: Source, context: ReadContext) => AsyncGenerator<Item>;
}
