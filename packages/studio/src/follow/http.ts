/** Asking another program's server, with patience: it may be busy, or not up yet. */
import { UserError, messageOf } from '@visurf/core/records';

/** Milliseconds before each try. */
const WAITS = [0, 500, 2_000, 8_000];
/** Milliseconds that an answer may take. */
const TIMEOUT = 30_000;

/**
 * @returns the answer, parsed; undefined where the server says that there is no such thing (404)
 * @throws UserError where it does not answer, or refuses
 */
export async function post(url: URL, body: unknown, headers: Readonly<Record<string, string>> = {}): Promise<unknown> {
  let fault = '';
  for (const wait of WAITS) {
    await new Promise((resolve) => setTimeout(resolve, wait));
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body),
        redirect: 'error',
        signal: AbortSignal.timeout(TIMEOUT),
      });
      const text = await response.text();
      if (response.ok) return text === '' ? {} : (JSON.parse(text) as unknown);
      if (response.status === 404) return undefined;
      fault = `it answers ${response.status}: ${text.slice(0, 300)}`;
      if (response.status < 500 && response.status !== 429) break;
    } catch (error) {
      fault = messageOf(error instanceof Error && error.cause !== undefined ? error.cause : error);
    }
  }
  throw new UserError(`it could not be handed on: ${fault}`, {
    where: url.origin,
    remedy: 'Start the server, and follow again: what was sent is not sent twice.',
  });
}

/** @throws UserError for what is no address */
export function addressOf(text: string): URL {
  const url = URL.parse(text);
  if (url && /^https?:$/.test(url.protocol)) return url;
  throw new UserError(`${text} is no address of a server`, { remedy: 'Such as http://127.0.0.1:5000' });
}
