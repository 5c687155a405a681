/** Who may ask: pages that this server gave out, on this machine, or whoever holds the token. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Context, MiddlewareHandler } from 'hono';

export interface GuardOptions {
  /** Names that the server answers to; a page of another site that was given our address has another. */
  readonly hosts: readonly string[];
  /** Unset: whoever reaches the address, which is this machine's own. */
  readonly token?: string | undefined;
  /** Path that everything lies below, without a slash at its end. */
  readonly base: string;
}

const COOKIE = 'visurf-studio';

/** What the page may load: itself. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' blob: data:",
  "connect-src 'self'",
  "base-uri 'self'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

export const HEADERS = {
  'content-security-policy': POLICY,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
} as const;

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
const same = (a: string, b: string): boolean => timingSafeEqual(digest(a), digest(b));

function tokenOf(context: Context): string | undefined {
  const bearer = /^Bearer (.+)$/.exec(context.req.header('authorization') ?? '')?.[1];
  const cookie = new RegExp(`(?:^|; )${COOKIE}=([^;]+)`).exec(context.req.header('cookie') ?? '')?.[1];
  return bearer ?? context.req.query('token') ?? cookie;
}

const hostOf = (address: string): string => address.replace(/:\d+$/, '').toLowerCase();

export function guard({ hosts, token, base }: GuardOptions): MiddlewareHandler {
  const known = new Set(hosts.map((host) => host.toLowerCase()));
  return async (context, next) => {
    for (const [name, value] of Object.entries(HEADERS)) context.header(name, value);
    const host = hostOf(context.req.header('host') ?? '');
    // With a token the name says nothing: whoever holds it may come by any.
    if (token === undefined && !known.has(host)) return context.json({ error: { message: 'unknown host' } }, 403);
    const origin = context.req.header('origin');
    if (origin !== undefined && hostOf(origin.replace(/^https?:\/\//, '')) !== host)
      return context.json({ error: { message: 'a page of another site may not ask' } }, 403);
    // Another port of this host is another page, which a name does not tell; browsers do where they can be believed.
    const site = context.req.header('sec-fetch-site') ?? 'none';
    if (!['GET', 'HEAD'].includes(context.req.method) && !['same-origin', 'none'].includes(site))
      return context.json({ error: { message: 'a page of another site may not ask' } }, 403);
    if (token !== undefined) {
      const given = tokenOf(context);
      if (given === undefined || !same(given, token))
        return context.json({ error: { message: 'this studio needs the token that its link holds' } }, 401);
      // From here on without it in the address.
      if (context.req.query('token') !== undefined)
        context.header('set-cookie', `${COOKIE}=${token}; Path=${base}/; HttpOnly; SameSite=Strict`);
    }
    return next();
  };
}
