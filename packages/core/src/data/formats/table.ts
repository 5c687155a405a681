/** Tables as text: commas, semicolons or tabs, quotes as RFC 4180 has them. */

export interface TableRow {
  /** Line of the file, from 1. */
  readonly line: number;
  readonly cells: ReadonlyMap<string, string>;
}

/** Rows under the names of the first line, in lower case. */
export function* parseTable(text: string): Generator<TableRow> {
  let names: readonly string[] | undefined;
  for (const { line, cells } of cellsOf(text.replace(/^\uFEFF/, ''), separatorOf(text))) {
    if (!names) names = cells.map((name) => name.trim().toLowerCase());
    else if (cells.some((cell) => cell.trim() !== '')) {
      yield { line, cells: new Map(names.map((name, i) => [name, (cells[i] ?? '').trim()])) };
    }
  }
}

function separatorOf(text: string): string {
  const head = text.slice(0, text.search(/[\r\n]|$/));
  const count = (mark: string): number => head.split(mark).length;
  return [',', ';', '\t'].reduce((best, each) => (count(each) > count(best) ? each : best));
}

function* cellsOf(text: string, separator: string): Generator<{ line: number; cells: string[] }> {
  const cell = new RegExp(
    `(?:"([^"]*(?:""[^"]*)*)"[^\\n${separator}]*|([^\\n${separator}]*))(${separator}|\\n|$)`,
    'y',
  );
  let [line, start, cells] = [1, 1, [] as string[]];
  while (cell.lastIndex < text.length) {
    const found = cell.exec(text);
    if (!found) break;
    const [whole, quoted, plain = '', end] = found;
    cells.push(quoted === undefined ? plain.replace(/\r$/, '') : quoted.replaceAll('""', '"'));
    line += whole.split('\n').length - 1;
    if (end === separator && cell.lastIndex < text.length) continue;
    yield { line: start, cells };
    [start, cells] = [line, []];
  }
}
