/** Messages for the person who runs the system: what is wrong, where, and what to do. */

export interface UserErrorDetails {
  /** File and line, sample id, or configuration key. */
  readonly where?: string | undefined;
  /** What the user can do about it. */
  readonly remedy?: string | undefined;
  readonly cause?: unknown;
}

/** A mistake in the input or its surroundings, not in the program: shown without a stack, exit code 2. */
export class UserError extends Error {
  override readonly name = 'UserError';
  readonly where: string | undefined;
  readonly remedy: string | undefined;
  /** What is wrong, without place and remedy. */
  readonly reason: string;

  constructor(said: string, details: UserErrorDetails = {}) {
    const { remedy } = details;
    const [reason, where] = [shortened(said), details.where && shortened(details.where)];
    const message = (where ? `${where}: ` : '') + reason + (remedy ? `\n  ${remedy}` : '');
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.reason = reason;
    this.where = where;
    this.remedy = remedy;
  }
}

/** Numbers of a model that are not finite: `onNonFinite` says what follows. */
export class NotFinite extends UserError {}

/** Weights that are not finite: no update can be left out any more, and nothing of them is worth keeping. */
export class Spoiled extends UserError {}

/** Characters of a message: what was wrong may be quoted in it, at any length. */
const MOST = 8_000;

const shortened = (text: string): string =>
  text.length <= MOST ? text : `${text.slice(0, MOST)} ... (${text.length - MOST} more characters)`;

/** The text of whatever was thrown, which in code of users may be anything. */
export function messageOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error);
  } catch {
    return 'what was thrown has no text';
  }
}

/** True for a Node.js system error with that code, such as `ENOENT`. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

/** Node.js's codes for what the surroundings refuse, in words. */
const REFUSALS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory',
  EISDIR: 'is a directory',
  ENOTDIR: 'a part of the path is not a directory',
  EEXIST: 'a part of the path is not a directory',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOSPC: 'no space left on the disk',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'a file would be larger than is allowed here',
  ELOOP: 'a link leads to itself',
  ENAMETOOLONG: 'the name is too long',
  EAGAIN: 'there is nothing to read',
  EIO: 'the disk reports an error',
  EMFILE: 'too many open files',
  ENFILE: 'too many open files',
};

/** A file that cannot be read or written, as its user's error; whatever else was thrown comes back as it is. */
export function fileError(error: unknown, { where, remedy }: UserErrorDetails = {}): unknown {
  if (!(error instanceof Error && 'code' in error && typeof error.code === 'string')) return error;
  const reason = REFUSALS[error.code];
  return reason === undefined ? error : new UserError(reason, { where, remedy, cause: error });
}

/**
 * Why a path that names nothing here never could: an address of the net, a picture in the text, a path of Windows; undefined
 * where it may be one. Such a path may have been put behind the folder that it was taken to be relative to.
 */
export function foreignPath(path: string): (UserErrorDetails & { readonly reason: string }) | undefined {
  const [, scheme, rest = ''] = /(?:^|\/)(https?|s3|gs|hf|ftp|file):\/+(.*)$/is.exec(path) ?? [];
  if (scheme?.toLowerCase() === 'file')
    return { reason: 'is a file: address', remedy: `Name the path alone: /${rest}` };
  const [, hub] = /huggingface\.co\/((?!datasets\/)[\w.-]+\/[\w.-]+)/.exec(rest) ?? [];
  if (scheme !== undefined && hub !== undefined) {
    return { reason: 'is the page of a model of the hub', remedy: `Name the model alone: ${hub}` };
  }
  if (scheme !== undefined) {
    return {
      reason: `is an address of the net (${scheme.toLowerCase()}), which is not fetched`,
      remedy: 'Download it first, and name the file here.',
    };
  }
  if (/(?:^|\/)data:[\w/+.-]*;base64,/i.test(path)) {
    return {
      reason: 'is a picture in the text (a data URI)',
      remedy: 'visurf data import writes such pictures as files.',
    };
  }
  const [windows, drive, below = ''] = /(?:^|\/)([a-z]):[\\/](.*)$/is.exec(path) ?? [];
  if (windows !== undefined) {
    const slashed = below.replaceAll('\\', '/');
    return {
      reason: 'is a path of Windows',
      remedy: `Write it as this system has it; under WSL that is /mnt/${drive!.toLowerCase()}/${slashed}`,
    };
  }
  if (!path.includes('\\')) return undefined;
  return { reason: 'is written with the slashes of Windows', remedy: 'Write / in place of \\ in paths.' };
}

/** A file that is not there. */
export function missingFile(file: string, said = 'no such file', where = file): UserError {
  const { reason, remedy } = foreignPath(file) ?? {};
  return new UserError(reason === undefined ? said : `${said}: it ${reason}`, { where, remedy });
}

/** Throws when an invariant of ours does not hold: a bug, never the user's mistake. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`bug in visurf: ${message}`);
}

/**
 * The candidate closest to a word by edit distance, or undefined when none is close enough to be a likely typo: one slip in
 * three letters at most, and something left of both.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    const shorter = Math.min(word.length, candidate.length);
    if (distance < Math.min(bestDistance, shorter)) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Insertions, deletions, substitutions and swaps of neighbours that turn one word into the other, none of them edited twice. */
export function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swap = isSwap ? beforePrevious[j - 2]! + 1 : Infinity;
      current.push(Math.min(substitution, swap, previous[j]! + 1, current[j - 1]! + 1));
    }
    [beforePrevious, previous] = [previous, current];
  }
  return previous[b.length]!;
}
