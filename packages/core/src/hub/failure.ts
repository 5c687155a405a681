/** What went wrong between here and the hub, in words that say what to do. */
import { HubApiError } from '@huggingface/hub';

import { hasCode, messageOf, UserError } from '../errors.ts';
import type { Kind } from './id.ts';

function statusOf(error: unknown): number | undefined {
  if (error instanceof HubApiError) return error.statusCode;
  const status = (error as { statusCode?: unknown } | null)?.statusCode;
  return typeof status === 'number' ? status : undefined;
}

/** Whether the hub was not reached, or not for long enough. */
export function isNetwork(error: unknown): boolean {
  if (statusOf(error) !== undefined || error instanceof UserError) return false;
  const codes = ['ECONNRESET', 'ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT', 'UND_ERR_SOCKET', 'EPIPE'];
  if (codes.some((code) => hasCode(error, code))) return true;
  const { name, message } = error instanceof Error ? error : { name: '', message: String(error) };
  return name === 'TimeoutError' || name === 'AbortError' || /fetch failed|terminated|aborted/.test(message);
}

/** Whether the same request may succeed a moment later. */
export function isTemporary(error: unknown): boolean {
  const status = statusOf(error);
  return status === undefined ? isNetwork(error) : status === 429 || status >= 500;
}

/** The reason under `fetch failed`. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  return messageOf(cause ?? error);
}

export interface Asked {
  readonly kind: Kind;
  readonly id: string;
  readonly revision: string;
  readonly hubUrl: string;
  readonly hasToken: boolean;
}

/** What a repository is called in messages, what else its name may be, and where its page is. */
export const WORDS: Readonly<Record<Kind, { readonly noun: string; readonly place: string; readonly page: string }>> = {
  model: { noun: 'model', place: 'directory', page: '' },
  dataset: { noun: 'data set', place: 'file', page: 'datasets/' },
};

/** A UserError for what the hub refused; anything else as it is. */
export function explain(error: unknown, { kind, id, revision, hubUrl, hasToken }: Asked): unknown {
  const { noun, place, page } = WORDS[kind];
  const where = revision === 'main' ? id : `${id} at ${revision}`;
  const status = statusOf(error);
  const said = error instanceof HubApiError ? error.message.split('. URL:')[0] : undefined;
  const giveToken = hasToken
    ? `The token that was given has no access: accept the terms on the page of the ${noun}, or use another token.`
    : `Give a token (HF_TOKEN, or option token); for a gated ${noun} accept its terms first, on ${hubUrl}/${page}${id}.`;
  switch (status) {
    case 401:
    case 403:
      // The hub answers so for what does not exist, too: it does not tell strangers what is private.
      return new UserError(
        hasToken
          ? `no access to this ${noun} (${said ?? status})`
          : `this ${noun} does not exist, or is private or gated`,
        { where, remedy: giveToken, cause: error },
      );
    case 404: {
      const missing = /\brev(ision)?\b/i.test(said ?? '')
        ? `no revision ${revision}`
        : `no such ${place}, and no such ${noun} on the hub`;
      return new UserError(missing, { where: id, remedy: `Check the name, or give a ${place}.`, cause: error });
    }
    case 429:
      return new UserError('the hub refuses so many requests', { where, remedy: 'Wait a few minutes.', cause: error });
    case undefined:
      break;
  }
  if (status !== undefined) {
    return new UserError(`the hub failed (status ${status})`, { where, remedy: 'Try again later.', cause: error });
  }
  if (!isNetwork(error)) return error;
  return new UserError(`no such ${place}, and the hub cannot be reached at ${hubUrl} (${reasonOf(error)})`, {
    where,
    remedy: `Check the network and HF_ENDPOINT, or give a ${place}. What is in the cache works with HF_HUB_OFFLINE=1.`,
    cause: error,
  });
}
