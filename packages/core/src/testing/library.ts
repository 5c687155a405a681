/** Whether the package is there that masks need, which is not among our dependencies: tests of masks are skipped without it. */
import { requireLibrary } from '../masks/exported.ts';

export function hasLibrary(): boolean {
  try {
    requireLibrary();
    return true;
  } catch {
    return false;
  }
}
