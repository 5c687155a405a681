/** Hugging Face's imagefolder: `metadata.jsonl` or `metadata.csv` whose `file_name` are images beside it. */
import path from 'node:path';
import { fromColumns } from './columns.ts';
import type { Reader } from './reader.ts';
import { isOfSplit, readText, records } from './source.ts';
import { parseTable } from './table.ts';

const METADATA = /^metadata\.(?:jsonl|csv)$/i;

export const imagefolder: Reader = {
  name: 'imagefolder',
  knows: ({ file, head }) => METADATA.test(path.basename(file)) && head.includes('file_name'),
  async *read(source, context) {
    const all = source.files.filter((file) => METADATA.test(path.basename(file)));
    for (const file of all) {
      if (source.split !== undefined && all.length > 1 && !isOfSplit(path.relative(source.root, file), source.split))
        continue;
      if (file.toLowerCase().endsWith('.csv')) {
        for (const { line, cells } of parseTable(await readText(file))) {
          yield* fromColumns(Object.fromEntries(cells), { file, record: line }, context);
        }
        continue;
      }
      for await (const record of records(file)) {
        if ('kind' in record) yield record;
        else yield* fromColumns(record.value, record.place, context);
      }
    }
  },
};
