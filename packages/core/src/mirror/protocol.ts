/** What a training and the thread that sends its run to a store say to each other. */
import { messageOf, UserError } from '../errors.ts';
import type { StoreAddress } from '../store/address.ts';

export interface MirrorData {
  readonly address: StoreAddress;
  /** Of this machine, for the run. */
  readonly directory: string;
  readonly resume: boolean | 'ifBegun';
  /** A checkpoint that is to be here. */
  readonly step: number | undefined;
  /** Checkpoints that are kept. */
  readonly keep: number;
}

/** What the training says. */
export type MirrorOrder =
  /** The run's directory is as it should be: from here on it grows. */
  | { readonly kind: 'go' }
  /** Nothing more comes: what is left is sent, until nothing has gone well for so many milliseconds. */
  | { readonly kind: 'finish'; readonly patience: number };

/** What the thread says. */
export type MirrorWord =
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly failure: MirrorFailure }
  | { readonly kind: 'warning'; readonly message: string }
  | { readonly kind: 'fetching'; readonly done: number; readonly total: number }
  | { readonly kind: 'sending'; readonly left: number }
  | { readonly kind: 'finished'; readonly left: readonly string[] };

export interface MirrorFailure {
  readonly reason: string;
  readonly where?: string | undefined;
  readonly remedy?: string | undefined;
  /** Of a failure that is not the user's. */
  readonly stack?: string | undefined;
}

export function failureOf(error: unknown): MirrorFailure {
  if (error instanceof UserError) return { reason: error.reason, where: error.where, remedy: error.remedy };
  return { reason: messageOf(error), stack: (error instanceof Error ? error.stack : undefined) ?? '' };
}

export function errorOf({ reason, where, remedy, stack }: MirrorFailure): Error {
  return stack === undefined ? new UserError(reason, { where, remedy }) : Object.assign(new Error(reason), { stack });
}
