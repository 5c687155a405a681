/** A server that finishes what it began when it is told to stop. */
import type { AddressInfo } from 'node:net';
import type { Server } from 'node:http';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { serve } from '@hono/node-server';
import type { App } from './app.ts';

/** Milliseconds for what was begun when the server is told to stop, and then for what is given up to be told. */
const GRACE = 15_000;
const FAREWELL = 2_000;
/** Connections beside those that are answered. */
const MOST_CONNECTIONS = 1_000;

export interface Listening {
  readonly port: number;
  /** Finishes what was begun; what takes too long is given up. */
  stop(giveUp: () => void): Promise<void>;
}

/** @throws a system error where the address cannot be used */
export async function listen(app: App, port: number, host: string): Promise<Listening> {
  const server = serve({ fetch: app.fetch, port, hostname: host }) as Server;
  server.maxConnections = MOST_CONNECTIONS;
  await Promise.race([
    once(server, 'listening'),
    once(server, 'error').then(([error]) => {
      throw error as Error;
    }),
  ]);
  return {
    port: (server.address() as AddressInfo).port,
    async stop(giveUp) {
      const closed = once(server, 'close');
      server.close();
      server.closeIdleConnections();
      const ticks = setInterval(() => app.busy() === 0 && server.closeIdleConnections(), 50);
      const ended = await Promise.race([closed.then(() => true), setTimeout(GRACE, false, { ref: false })]);
      if (!ended) {
        giveUp();
        await Promise.race([closed, setTimeout(FAREWELL, undefined, { ref: false })]);
        server.closeAllConnections();
      }
      clearInterval(ticks);
    },
  };
}
