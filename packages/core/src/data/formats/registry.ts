/** The formats that data may have: ours, and those of plugins. */
import { z } from 'zod';
import { messageOf, UserError } from '../../errors.ts';
import { markDefined } from '../../tasks/defined.ts';
import { coco } from './coco.ts';
import { questions, visurf } from './columns.ts';
import { createml } from './createml.ts';
import { csv } from './csv.ts';
import { cvat } from './cvat.ts';
import { imagefolder } from './imagefolder.ts';
import { instances } from './instances.ts';
import { labelmeXml } from './labelme-xml.ts';
import { labelme } from './labelme.ts';
import { labelStudio } from './labelstudio.ts';
import { llava, vlmR1 } from './llava.ts';
import { parquet } from './parquet.ts';
import type { Reader } from './reader.ts';
import { BOX_FORMS, UNITS, type Item } from './record.ts';
import { openai, sharegpt } from './sharegpt.ts';
import { swift } from './swift.ts';
import { via } from './via.ts';
import { voc } from './voc.ts';
import { yolo } from './yolo.ts';

/** Readers in the order in which they are asked: the telling ones first. */
const READERS: readonly Reader[] = [
  ...[yolo, imagefolder, parquet, coco, via, labelme, createml, instances, labelStudio, voc, cvat, labelmeXml],
  ...[visurf, vlmR1, llava, swift, openai, sharegpt, questions, csv],
];

export const FORMATS: readonly string[] = READERS.map(({ name }) => name);

/** Readers of plugins by name, as they are, and as they are used. */
const own = new Map<string, { readonly given: Reader; readonly used: Reader }>();

/** All of them; those of plugins are asked first. */
export const readers = (): readonly Reader[] => [...[...own.values()].map(({ used }) => used), ...READERS];

export const formatNames = (): readonly string[] => readers().map(({ name }) => name);

/** Whether a folder of that format may hold files of others. */
export const readsWhole = (reader: Reader): boolean => [yolo, imagefolder, voc, csv].includes(reader);

/** Whether a format needs all files of a folder: splits, labels. */
export const readsAll = (reader: Reader): boolean => [yolo, voc].includes(reader);

/**
 * Checks a reader of a format, and returns it. It yields images with their boxes, or questions with their answers in the
 * fields of our JSONL, each with the place that messages name.
 * @example
 * defineReader({
 *   name: 'pairs',
 *   knows: ({ extension }) => extension === 'pairs',
 *   async *read({ files }, { images }) { ... yield { kind: 'question', place: { file, record: 1 }, ... }; },
 * });
 * @throws UserError where the name is taken, or is none, or something is missing
 */
export function defineReader<Own extends Reader>(reader: Own): Own {
  const { name, knows, read } = reader;
  if (typeof name !== 'string' || !/^\w[\w-]*$/.test(name) || name === 'auto') {
    throw new UserError(`${JSON.stringify(name)} is no name of a format`);
  }
  if (typeof knows !== 'function' || typeof read !== 'function') {
    throw new UserError(`the reader "${name}" needs the functions knows and read`);
  }
  registerReader(reader);
  return markDefined(reader, 'reader');
}

/** Makes a reader known that may be known already. @throws UserError where another one has its name */
export function registerReader(reader: Reader): void {
  const { name } = reader;
  const known = own.get(name);
  if (FORMATS.includes(name) || (known !== undefined && known.given !== reader)) {
    throw new UserError(`there already is a format named "${name}"`);
  }
  if (known === undefined) own.set(name, { given: reader, used: guarded(reader) });
}

const place = z.object({ file: z.string(), record: z.int().positive() });
const size = z.object({ width: z.number().positive(), height: z.number().positive() });
const finite = z.number();
const convention = z.object({
  form: z.enum(BOX_FORMS).optional(),
  units: z.enum(UNITS).optional(),
  fixed: z.boolean().optional(),
});
const item = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('image'),
    place,
    image: z.string(),
    frame: size.optional(),
    objects: z.array(
      z.object({
        label: z.string(),
        numbers: z.tuple([finite, finite, finite, finite]),
        convention: convention.prefault({}),
      }),
    ),
    unsure: z.array(z.string()).default([]),
  }),
  z.object({
    kind: z.literal('question'),
    place,
    images: z.array(z.string()),
    fields: z.record(z.string(), z.unknown()),
    frame: size.optional(),
    convention: convention.prefault({}),
  }),
  z.object({ kind: z.literal('fault'), place, message: z.string(), about: z.literal('image').optional() }),
]);

/** A plugin's reader whose failures name it, and whose items are what they should be. */
function guarded(reader: Reader): Reader {
  const { name } = reader;
  const failure = (what: string, where: string, cause?: unknown): UserError =>
    new UserError(`the reader ${name} ${what}`, { where, cause });
  return {
    name,
    knows: (glance) => {
      try {
        return reader.knows(glance);
      } catch (error) {
        throw failure(`fails to tell whether it knows the file: ${messageOf(error)}`, glance.file, error);
      }
    },
    async *read(source, context) {
      let n = 0;
      try {
        for await (const given of reader.read(source, context)) {
          n += 1;
          const parsed = item.safeParse(given);
          if (!parsed.success)
            throw failure(`yields no item (number ${n}): ${z.prettifyError(parsed.error)}`, source.path);
          yield parsed.data as Item;
        }
      } catch (error) {
        if (error instanceof UserError) throw error;
        throw failure(`fails after ${n} items: ${messageOf(error)}`, source.path, error);
      }
    },
  };
}
