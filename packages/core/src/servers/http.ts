/** JSON over HTTP with a server of models. It may be away, busy or wrong, and what it says is not trusted. */
import { request as plain, Agent, type IncomingMessage } from 'node:http';
import { request as secure, Agent as SecureAgent } from 'node:https';
import { text } from 'node:stream/consumers';

import { messageOf, UserError } from '../errors.ts';

/**
 * `away`: nobody answered; `busy`: it takes no more now; `failed`: it tried (5xx); `refused`: the request is at fault (4xx);
 * `wrong`: the answer is not what was asked for; `lost`: it has not got the weights that were asked for.
 */
export type FaultKind = 'away' | 'busy' | 'failed' | 'refused' | 'wrong' | 'lost';

/** Why there is no answer. */
export class ServerFault extends Error {
  readonly kind: FaultKind;
  /** Of HTTP, where there was one. */
  readonly status: number | undefined;
  /** Seconds after which to ask again. */
  readonly after: number | undefined;

  constructor(kind: FaultKind, message: string, facts: { status?: number; after?: number; cause?: unknown } = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.kind = kind;
    this.status = facts.status;
    this.after = facts.after;
  }
}

export interface Call {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: unknown;
  /** Seconds within which the answer must be there whole. */
  readonly seconds: number;
  /** Bytes of the answer at most. */
  readonly most: number;
  readonly signal?: AbortSignal | undefined;
}

/** Bytes of an answer that says little. */
export const smallAnswer = 1 << 20;

/** Characters of a server's words that are quoted. */
const quoted = 600;

export class Endpoint {
  /** Without a slash at its end. */
  readonly url: string;
  readonly #token: string | undefined;
  readonly #agent: Agent;

  /**
   * @param token sent as `Authorization: Bearer`
   * @throws UserError where it is no address of a server
   */
  constructor(url: string, token: string | undefined = process.env['VISURF_SERVER_TOKEN']) {
    this.url = serverUrl(url);
    this.#token = token;
    // Between steps a server closes what is open, and a request on it would be lost.
    this.#agent = new (this.url.startsWith('https:') ? SecureAgent : Agent)({ keepAlive: false });
  }

  /** @throws ServerFault; the signal's reason when it is aborted */
  async call({ method, path, body, seconds, most, signal }: Call): Promise<unknown> {
    signal?.throwIfAborted();
    const late = AbortSignal.timeout(Math.ceil(seconds * 1000));
    const ended = signal ? AbortSignal.any([signal, late]) : late;
    try {
      const { status, said, after } = await this.#send(method, path, body, most, ended);
      if (status >= 200 && status < 300) return said === '' ? undefined : parsed(said);
      throw new ServerFault(kindOf(status), `${status}: ${reasonOf(said)}`, { status, ...(after && { after }) });
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (error instanceof ServerFault) throw error;
      const reason = late.aborted ? `no answer within ${seconds} s` : messageOf(error);
      throw new ServerFault('away', reason, { cause: error });
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  #send(
    method: string,
    path: string,
    body: unknown,
    most: number,
    signal: AbortSignal,
  ): Promise<{ status: number; said: string; after: number | undefined }> {
    const content = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    return new Promise((resolve, reject) => {
      const send = this.url.startsWith('https:') ? secure : plain;
      const sent = send(`${this.url}${path}`, {
        ...{ method, agent: this.#agent, signal },
        headers: {
          ...(content && { 'content-type': 'application/json', 'content-length': content.length }),
          ...(this.#token && { authorization: `Bearer ${this.#token}` }),
        },
      });
      sent.on('error', reject);
      // Left alone it ends the request without an error.
      sent.on('upgrade', ({ statusCode }, socket) => {
        socket.destroy();
        reject(new ServerFault('wrong', `${statusCode}: another protocol`));
      });
      sent.on('response', (response) => {
        const after = Number(response.headers['retry-after']);
        read(response, most).then((said) => {
          resolve({ status: response.statusCode ?? 0, said, after: after > 0 ? after : undefined });
        }, reject);
      });
      sent.end(content);
    });
  }
}

/** @throws UserError where it is no address of a server, or holds a password, which the record of a run would show */
export function serverUrl(given: string): string {
  const url = URL.parse(given);
  const remedy = 'Expected an address such as http://127.0.0.1:8000.';
  if (!url || !/^https?:$/.test(url.protocol))
    throw new UserError(`is no address of a server`, { where: given, remedy });
  if (url.username !== '' || url.password !== '') {
    throw new UserError('the address holds a password', {
      where: `${url.protocol}//${url.host}`,
      remedy: 'Leave it out, and set VISURF_SERVER_TOKEN, which is sent as an API key.',
    });
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '').replace(/\/v1$/, '');
}

function read(response: IncomingMessage, most: number): Promise<string> {
  let bytes = 0;
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > most) response.destroy(new ServerFault('wrong', `an answer of more than ${most} bytes`));
  });
  return text(response);
}

/** JSON as what it says; other text, with which servers answer that something is done, as it is. */
function parsed(said: string): unknown {
  try {
    return JSON.parse(said);
  } catch {
    return said;
  }
}

function kindOf(status: number): FaultKind {
  if (status === 429 || status === 503) return 'busy';
  if (status >= 500) return 'failed';
  return status >= 400 ? 'refused' : 'wrong';
}

/** What a server says of an error, on one line: OpenAI's form, FastAPI's, SGLang's of adapters, the title of a page, or whatever it is. */
function reasonOf(said: string): string {
  let reason: unknown;
  try {
    const { error, detail, message, error_message: ofAdapter } = JSON.parse(said) as Record<string, unknown>;
    const inner = typeof error === 'object' && error !== null && 'message' in error ? error.message : error;
    reason = inner ?? detail ?? message ?? ofAdapter ?? said;
  } catch {
    // A page of some other server, or its words.
    reason = /<title>(.*?)<\/title>/is.exec(said)?.[1] ?? said;
  }
  const text = typeof reason === 'string' ? reason : JSON.stringify(reason);
  return text.replace(/\s+/g, ' ').trim().slice(0, quoted);
}
