/** What a hub says of the files of a repository, of which nothing is believed: paths and hashes become names of files here. */
import { z } from 'zod';
import { UserError } from '../errors.ts';
import { isPath } from '../regular.ts';

export interface RemoteFile {
  readonly path: string;
  readonly size: number;
  /** Name of the blob: SHA-256 of large files, the git object of small ones. */
  readonly oid: string;
  readonly sha256: boolean;
}

/** Chooses among the files of a repository. */
export interface Choice {
  /** What the files make, for messages. */
  readonly noun: string;
  readonly choose: (files: readonly RemoteFile[]) => readonly RemoteFile[];
  /** Whether git's own hash, which is weak, is not enough for a file that is large. */
  readonly needsStrongHash: (path: string) => boolean;
}

/** The most files that are listed, and bytes that are downloaded: more are no repository, or an attack. */
export const MAX_FILES = 100_000;
const MAX_BYTES = 2 ** 43;
/** Bytes up to which a hub may keep a file in git itself. */
const MAX_WEAK = 16 << 20;

const entry = z.object({
  type: z.string(),
  path: z.string(),
  size: z.int().nonnegative(),
  oid: z.string().optional(),
  lfs: z.object({ oid: z.string(), size: z.int().nonnegative() }).optional(),
});

/** @throws UserError where it is no listing, or a file that was chosen is none */
export function checkListing(value: unknown, id: string, { noun, choose, needsStrongHash }: Choice): RemoteFile[] {
  const fail = (what: string): never => {
    throw new UserError(`the hub's list of files is not one: ${what}`, {
      where: id,
      remedy: 'Check HF_ENDPOINT and the network between.',
    });
  };
  const parsed = z.array(entry).max(MAX_FILES).safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return fail(`${issue!.path.join('.')}: ${issue!.message}`);
  }
  const listed = parsed.data.flatMap(({ type, path, size, oid = '', lfs }): RemoteFile[] =>
    type === 'file' ? [{ path, size: lfs?.size ?? size, oid: lfs?.oid ?? oid, sha256: lfs !== undefined }] : [],
  );
  const files = [...choose(listed)];
  const paths = new Set(files.map(({ path }) => path));
  for (const { path, oid, sha256 } of files) {
    if (!isPath(path)) fail(`${JSON.stringify(path.slice(0, 200))} is no path`);
    const folder = foldersAbove(path).find((each) => paths.has(each));
    if (folder !== undefined) fail(`${folder} is a file and a folder`);
    if (!(sha256 ? /^[0-9a-f]{64}$/ : /^[0-9a-f]{40}$/).test(oid)) fail(`${path} has no hash`);
  }
  if (paths.size < files.length) fail('a file is there twice');
  if (files.reduce((sum, { size }) => sum + size, 0) > MAX_BYTES) fail(`the files are larger than any ${noun}`);
  const weak = files.find(({ path, sha256, size }) => !sha256 && size > MAX_WEAK && needsStrongHash(path));
  if (weak) fail(`${weak.path} has no SHA-256`);
  return files;
}

const foldersAbove = (path: string): string[] => {
  const parts = path.split('/');
  return parts.slice(1).map((_, i) => parts.slice(0, i + 1).join('/'));
};
