/** What a file holds that is about to be written anew: kept beside it, unless it comes to hold the same again. */
import { closeSync, constants, copyFileSync, openSync, readSync, rmSync, statSync } from 'node:fs';

import { fileError, hasCode } from '../errors.ts';

const CHUNK = 1 << 20;

export class SetAside {
  readonly file: string;
  /** The copy: the file's name with the first number that is free behind it. */
  readonly copy: string;

  /** @throws UserError where no copy can be made */
  constructor(file: string) {
    this.file = file;
    for (let i = 1; ; i++) {
      const copy = `${file}.${i}`;
      try {
        copyFileSync(file, copy, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
        this.copy = copy;
        return;
      } catch (error) {
        if (!hasCode(error, 'EEXIST')) throw fileError(error, { where: copy });
      }
    }
  }

  /** Whether the file has become another, so that the copy stays. */
  settle(): boolean {
    if (!holdSame(this.file, this.copy)) return true;
    rmSync(this.copy, { force: true });
    return false;
  }
}

function holdSame(file: string, other: string): boolean {
  const sizes = [file, other].map((each) => statSync(each, { throwIfNoEntry: false })?.size);
  if (sizes[0] === undefined || sizes[0] !== sizes[1]) return false;
  const [a, b] = [openSync(file, 'r'), openSync(other, 'r')];
  try {
    const [left, right] = [Buffer.alloc(CHUNK), Buffer.alloc(CHUNK)];
    for (let at = 0; at < sizes[0]; at += CHUNK) {
      const read = [readSync(a, left, 0, CHUNK, at), readSync(b, right, 0, CHUNK, at)];
      if (read[0] !== read[1] || !left.subarray(0, read[0]).equals(right.subarray(0, read[1]))) return false;
    }
    return true;
  } finally {
    closeSync(a);
    closeSync(b);
  }
}
