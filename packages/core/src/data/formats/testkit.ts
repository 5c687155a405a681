/** Rows of a source, all at once. */
import { readRows, type RowOptions } from './formats.ts';
import type { Row, RowsRead } from './record.ts';

export async function rowsOf(file: string, options: RowOptions = {}): Promise<RowsRead & { readonly rows: Row[] }> {
  const rows: Row[] = [];
  const read = await readRows(file, options, {
    take: (row) => void rows.push(row),
    clear: () => void (rows.length = 0),
  });
  return { ...read, rows };
}
