/** Files of groups, as a run writes them: what cannot be read counts as empty. */
import { readdirSync, statSync } from 'node:fs';
import { readBytes, type GroupRecord, type ResponseRecord } from '@visurf/core/records';

/** Bytes of a file of groups, beyond which it is not read. */
export const LARGEST = 256 << 20;

/** Steps that have a file, the newest first. */
export function stepsIn(folder: string): number[] {
  try {
    return readdirSync(folder)
      .flatMap((name) => (/^\d{6,}\.jsonl$/.test(name) ? [Number.parseInt(name, 10)] : []))
      .sort((a, b) => b - a);
  } catch {
    return [];
  }
}

export function sizeOf(file: string): number {
  try {
    return statSync(file).size;
  } catch {
    return -1;
  }
}

/** When a name in a folder came or went; NaN where there is no folder. */
export function changedAt(folder: string): number {
  try {
    return statSync(folder).mtimeMs;
  } catch {
    return NaN;
  }
}

export function readOrNothing(file: string): Buffer<ArrayBuffer> {
  try {
    return statSync(file).size > LARGEST ? Buffer.alloc(0) : Buffer.from(readBytes(file));
  } catch {
    return Buffer.alloc(0);
  }
}

const isNumbers = (terms: unknown): terms is Record<string, number> =>
  typeof terms === 'object' && terms !== null && Object.values(terms).every(Number.isFinite);

/** A line of the file, where it is a group. */
export function groupOf(line: string): GroupRecord | undefined {
  try {
    const group = JSON.parse(line) as Partial<GroupRecord> | null;
    const isGroup =
      typeof group?.id === 'string' &&
      typeof group.problem === 'string' &&
      Array.isArray(group.rollouts) &&
      [...(group.rollouts as readonly ResponseRecord[]), ...(group.label ? [group.label] : [])].every(
        (each) => typeof each.text === 'string' && Number.isFinite(each.reward) && isNumbers(each.terms),
      );
    return isGroup ? (group as GroupRecord) : undefined;
  } catch {
    return undefined;
  }
}
