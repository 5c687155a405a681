/** Lines of a text file, one by one, each with a limit on its length. */
import { fileError, hasCode, missingFile, UserError } from '../errors.ts';
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
      if (number === 0 && length === 0) requireUtf8(chunk, file);
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

/** What to do with a text that is not UTF-8. */
export const TO_UTF8 = 'Save it as UTF-8, or: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW (of Excel: "CSV UTF-8").';

/** Why lines are none. */
export const LISTED = 'a list of JSON, not lines: write an object on every line, or call the file .json';

/** The text of a whole file: UTF-8, or UTF-16 where it begins with that mark, as Windows writes it. @throws TypeError for neither */
export function wholeText(bytes: Uint8Array, isFatal = true): string {
  const encoding = { fffe: 'utf-16le', feff: 'utf-16be' }[markOf(bytes)] ?? 'utf-8';
  return new TextDecoder(encoding, { fatal: isFatal }).decode(bytes);
}

/** @throws UserError where lines begin with the mark of UTF-16: none of them could be read */
export function requireUtf8(bytes: Uint8Array, file: string): void {
  if (!['fffe', 'feff'].includes(markOf(bytes))) return;
  throw new UserError('is UTF-16, and its lines must be UTF-8', {
    where: file,
    remedy: TO_UTF8.replace('WINDOWS-1252', 'UTF-16'),
  });
}

const markOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(2, bytes.length)).toString('hex');

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
