/**
 * `node --import bench/cuda/report.ts`: at its end a program says what it asked of the card, in the file COUNTS. Of
 * several processes it is the first that says so; the one that started them has no card, and others have the like.
 */
import { writeFileSync } from 'node:fs';

import { read } from './counts.ts';

const { COUNTS = '', RANK = '0' } = process.env;
const startsOthers = process.env['RANK'] === undefined && process.argv.includes('--processes');
if (RANK === '0' && !startsOthers) process.on('exit', () => writeFileSync(COUNTS, JSON.stringify(read())));
