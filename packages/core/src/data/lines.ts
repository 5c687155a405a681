/** Lines of a text file, one by one, each with a limit on its length. */
import { fileError, hasCode, missingFile } from '../errors.ts';
import { openFile } from '../regular.ts';

export interface Line {
  /** From 1. */
  readonly number: number;
  /** Undefined where the line is too long, or is not UTF-8. */
  readonly text: string | undefined;
  readonly fault: string | undefined;
}

/** @throws UserError where the file cannot be read */
export async function* readLines(file: string, maxBytes: number): AsyncGenerator<Line> {
  let number = 0;
  let length = 0;
  let pieces: Buffer[] = [];
  const take = (piece: Buffer) => {
    length += piece.length;
    if (length <= maxBytes) pieces.push(piece);
  };
  const finish = (): Line => {
    const line = toLine(++number, pieces, length, maxBytes);
    pieces = [];
    length = 0;
    return line;
  };
  try {
    await using handle = await openFile(file);
    for await (const chunk of handle.createReadStream({ autoClose: false }) as AsyncIterable<Buffer>) {
      let start = 0;
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
        take(chunk.subarray(start, end));
        yield finish();
        start = end + 1;
      }
      take(chunk.subarray(start));
    }
    if (length > 0) yield finish();
  } catch (error) {
    throw readError(error, file);
  }
}

export const NEWLINE = 0x0a;

/** What kept a file from being read, as its user's error. */
export const readError = (error: unknown, file: string): unknown =>
  hasCode(error, 'ENOENT') ? missingFile(file) : fileError(error, { where: file });

export const tooLong = (length: number, maxBytes: number): string =>
  `line of ${length} bytes is too long (limit ${maxBytes})`;

const decoder = new TextDecoder('utf-8', { fatal: true });

/** The text of a line; undefined where it is not UTF-8. */
export function textOf(bytes: Uint8Array): string | undefined {
  try {
    // The decoder drops a byte order mark.
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

function toLine(number: number, pieces: readonly Buffer[], length: number, maxBytes: number): Line {
  if (length > maxBytes) return { number, text: undefined, fault: tooLong(length, maxBytes) };
  const text = textOf(Buffer.concat(pieces));
  return { number, text, fault: text === undefined ? 'not UTF-8' : undefined };
}
