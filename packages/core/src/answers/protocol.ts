/** What a program and the thread that has its model say to each other. */
import { TorchError } from '@visurf/torch';

import { messageOf, UserError, type UserErrorDetails } from '../errors.ts';
import type { Score } from './score.ts';
import type { PolicyOptions } from '../policy.ts';
import type { PromptInput } from '../prompt/messages.ts';
import type { Settings } from '../question/settings.ts';
import type { AskOptions, Answered } from './queue.ts';
import type { Piece } from './utterance.ts';

/** What the thread opens; the model is a directory. */
export interface ThreadData {
  readonly base: string;
  readonly options: PolicyOptions;
  readonly most: number | undefined;
  readonly threads: number | undefined;
}

/** About the model, once it is there. */
export interface Opened {
  readonly directory: string;
  readonly settings: Settings | undefined;
  readonly vocabularySize: number;
}

export type Response = { readonly text: string } | { readonly ids: readonly number[] };

export type Request =
  | {
      readonly id: number;
      readonly kind: 'ask';
      readonly input: PromptInput;
      readonly options: Omit<AskOptions, 'signal'>;
    }
  | { readonly id: number; readonly kind: 'score'; readonly input: PromptInput; readonly response: Response }
  /** How the tokens read that an answer is made of. */
  | { readonly id: number; readonly kind: 'spell'; readonly tokens: readonly number[] }
  | { readonly id: number; readonly kind: 'cancel' };

export type Reply =
  | { readonly kind: 'opened'; readonly opened: Opened }
  | { readonly kind: 'piece'; readonly id: number; readonly member: number; readonly piece: Piece }
  | { readonly kind: 'done'; readonly id: number; readonly result: Answered | Score | readonly string[] }
  | { readonly kind: 'failed'; readonly id: number | undefined; readonly failure: Failure };

export interface Failure extends Omit<UserErrorDetails, 'cause'> {
  readonly reason: string;
  readonly kind: 'users' | 'torch' | 'other';
  readonly stack?: string | undefined;
}

export function failureOf(error: unknown): Failure {
  if (error instanceof UserError) {
    const { reason, where, remedy } = error;
    return { kind: 'users', reason, where, remedy };
  }
  const stack = error instanceof Error ? error.stack : undefined;
  return { kind: error instanceof TorchError ? 'torch' : 'other', reason: messageOf(error), stack };
}

export function errorOf({ kind, reason, stack, ...details }: Failure): Error {
  if (kind === 'users') return new UserError(reason, details);
  const error = kind === 'torch' ? new TorchError(reason) : new Error(reason);
  return Object.assign(error, stack === undefined ? {} : { stack });
}
