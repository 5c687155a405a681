/** Requests to a hub: the token goes to no other host, and an answer is not longer than it may be. */
import { UserError } from '../errors.ts';

type Fetch = typeof fetch;

/** Milliseconds in which a server must answer at all: sooner than the system notices. */
const PATIENCE = 30_000;
/** Bytes of a description, which is held in memory. */
const MAX_BYTES = 64 << 20;
/** Pages of a listing, and what else is asked of one model. */
const MAX_REQUESTS = 1_000;

/**
 * Without the token where the host is another one, as links in a listing may say. (On redirects `fetch` leaves it out
 * by itself.)
 */
export const keepingToken =
  (hubUrl: string, send: Fetch = fetch): Fetch =>
  (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    if (url.origin === new URL(hubUrl).origin) return send(input, init);
    const headers = new Headers(init?.headers);
    headers.delete('authorization');
    return send(input, { ...init, headers });
  };

/** For descriptions: revisions and lists of files. */
export function describing(hubUrl: string, id: string): Fetch {
  const send = keepingToken(hubUrl);
  const fail = (what: string): UserError =>
    new UserError(`the hub says ${what}`, { where: id, remedy: 'Check HF_ENDPOINT and the network between.' });
  let requests = 0;
  return async (input, init) => {
    if (++requests > MAX_REQUESTS) throw fail('that there is more of it, again and again');
    const response = await send(input, { ...init, signal: AbortSignal.timeout(PATIENCE) });
    const parts: Uint8Array[] = [];
    let bytes = 0;
    for await (const part of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      parts.push(part);
      if ((bytes += part.length) > MAX_BYTES) throw fail('more than any description has');
    }
    const { status, statusText, headers } = response;
    const body = status === 204 || status === 304 ? null : Buffer.concat(parts);
    return new Response(body, { status, statusText, headers: withoutCoding(headers) });
  };
}

/** The body has been decoded. */
function withoutCoding(headers: Headers): Headers {
  const left = new Headers(headers);
  for (const name of ['content-encoding', 'content-length']) left.delete(name);
  return left;
}
