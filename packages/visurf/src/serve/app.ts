/** The routes of the server, who may use them, and how much of it. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { Hono, type Context } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { streamSSE, type SSEStreamingApi } from 'hono/streaming';
import { ChatService, type Chat, type Send, type Served } from './chat.ts';
import { errorBody, Refusal, refusalOf } from './failure.ts';

export interface AppOptions extends Served {
  /** Who asks for answers must have it; unset: anyone on this machine. */
  readonly token: string | undefined;
  /** Requests that wait or are answered, at most. */
  readonly queue: number;
  /** Seconds for one answer. */
  readonly timeout: number;
  /** Aborted where answers that are not ready are given up. */
  readonly stopped: AbortSignal;
  /** Hears of failures of ours. */
  readonly onError: (error: unknown) => void;
}

export interface App {
  readonly fetch: Hono['fetch'];
  /** Requests that wait or are answered. */
  readonly busy: () => number;
}

const LOCAL = /^(localhost|127(\.\d+){3}|\[::1\])(:\d+)?$/i;

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

export function makeApp(options: AppOptions): App {
  const { token, queue, limits, names, opened, onError } = options;
  const service = new ChatService(options);
  const app = new Hono();
  let busy = 0;

  app.onError((error, c) => refused(c, error));
  app.notFound((c) => refused(c, new Refusal(404, `there is no ${c.req.method} ${c.req.path}`)));
  app.get('/health', (c) => {
    const { fault } = opened.policy;
    return fault ? refused(c, new Refusal(503, fault.message)) : c.json({ status: 'ok', busy });
  });

  if (token === undefined) {
    // Pages of other sites can reach this machine through the browser of its user, but under their own names.
    app.use('/v1/*', async (c, next) => {
      const [host = '', origin] = [c.req.header('host'), c.req.header('origin')];
      const isForeign = origin !== undefined && !(URL.canParse(origin) && LOCAL.test(new URL(origin).host));
      if (!LOCAL.test(host) || isForeign) throw new Refusal(403, 'requests of other hosts and origins need a token');
      await next();
    });
  } else {
    const wanted = digest(`Bearer ${token}`);
    app.use('/v1/*', async (c, next) => {
      // In a time that does not tell how much of it was right.
      if (!timingSafeEqual(digest(c.req.header('authorization') ?? ''), wanted)) {
        throw new Refusal(401, 'the token is missing or wrong: Authorization: Bearer TOKEN');
      }
      await next();
    });
  }

  const created = Math.floor(Date.now() / 1000);
  const models = names.slice(0, 1).map((id) => ({
    ...{ id, object: 'model', created, owned_by: 'visurf', max_tokens: limits.maxTokens },
    ...(opened.isGuided && { task: opened.experiment.settings.task, answer_schema: service.schema ?? null }),
  }));
  app.get('/v1/models', (c) => c.json({ object: 'list', data: models }));
  app.get('/v1/models/:id{.+}', (c) => {
    const id = c.req.param('id');
    if (!names.includes(id)) throw new Refusal(404, `there is no model ${id}`);
    return c.json(models[0]!);
  });

  const tooLarge = (c: Context): Response =>
    refused(c, new Refusal(413, `a request has ${limits.maxBody} bytes at most`));
  app.post('/v1/chat/completions', bodyLimit({ maxSize: limits.maxBody, onError: tooLarge }), async (c) => {
    if (busy >= queue) {
      c.header('retry-after', '1');
      throw new Refusal(429, `${busy} requests are waiting: try again later`);
    }
    busy += 1;
    let isStreaming = false;
    try {
      const chat = await service.read(await bodyOf(c));
      const deadline = AbortSignal.timeout(options.timeout * 1000);
      const signal = AbortSignal.any([c.req.raw.signal, deadline, options.stopped]);
      if (!chat.asked.stream) return c.json(await service.complete(chat, signal));
      const response = await streamed(c, chat, signal);
      isStreaming = true;
      return response;
    } finally {
      if (!isStreaming) busy -= 1;
    }
  });
  return { fetch: app.fetch, busy: () => busy };

  function refused(c: Context, error: unknown): Response {
    const refusal = named(error);
    // A client that goes while it sends its request is no failure of anybody's.
    if (refusal.status === 500 && !c.req.raw.signal.aborted) onError(error);
    return c.json(errorBody(refusal), refusal.status);
  }

  function named(error: unknown): Refusal {
    if (options.stopped.aborted && error === options.stopped.reason) return new Refusal(503, 'the server is stopping');
    const isLate = error instanceof Error && error.name === 'TimeoutError';
    return isLate ? new Refusal(504, `no answer within ${options.timeout} s`) : refusalOf(error);
  }

  /** What is wrong with a request is said as for any other, as long as nothing was sent. */
  async function streamed(c: Context, chat: Chat, signal: AbortSignal): Promise<Response> {
    const begun = Promise.withResolvers<undefined>();
    const open = Promise.withResolvers<SSEStreamingApi>();
    const start = (): Send => {
      begun.resolve(undefined);
      return async (data) => {
        const stream = await open.promise;
        if (stream.aborted || stream.closed) throw new Error('the client has gone');
        await stream.writeSSE({ data: JSON.stringify(data) });
      };
    };
    const done = service.stream(chat, signal, start);
    done.then(() => begun.resolve(undefined), begun.reject);
    await begun.promise;
    return streamSSE(c, async (stream) => {
      open.resolve(stream);
      try {
        await done;
        await stream.writeSSE({ data: '[DONE]' });
      } catch (error) {
        if (stream.aborted) return;
        const refusal = named(error);
        if (refusal.status === 500) onError(error);
        await stream.writeSSE({ data: JSON.stringify(errorBody(refusal)) });
      } finally {
        busy -= 1;
      }
    });
  }
}

async function bodyOf(c: Context): Promise<unknown> {
  try {
    return await c.req.json();
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new Refusal(400, `the request is no JSON: ${error.message.slice(0, 200)}`);
  }
}
