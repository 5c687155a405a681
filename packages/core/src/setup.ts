/** Where the program is that finds or fetches libtorch and builds the addon: needed where neither is there, so it loads neither. */
import { fileURLToPath } from 'node:url';

export const setupProgram = (): string =>
  fileURLToPath(new URL('../scripts/build.mjs', import.meta.resolve('@visurf/torch')));
