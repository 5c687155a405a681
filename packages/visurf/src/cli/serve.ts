import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { Option } from 'commander';
import type { Command } from 'commander';
import { untilStopped } from './interrupt.ts';
import { measureOf, withMeasure } from './measure.ts';
import type { MeasuredOptions } from './measure.ts';
import { example, number, wholeNumber, withCompute, withJson, withModel } from './options.ts';
import type { ComputeOptions, JsonOption, ModelOptions } from './options.ts';
import { Progress, print, printJson } from './output.ts';

interface ServeOptions extends ModelOptions, MeasuredOptions, ComputeOptions, JsonOption {
  readonly port: number;
  readonly host: string;
  readonly token?: string;
  readonly name?: string;
  readonly batch: number;
  readonly queue: number;
  readonly timeout: number;
  readonly maxBody: number;
  readonly maxImages: number;
  readonly maxTokens: number;
  readonly maxPromptTokens: number;
  readonly allowHttpImages?: true;
}

export function defineServe(program: Command): void {
  const command = program
    .command('serve')
    .description('answer over HTTP in the form of OpenAI, asked as the model was trained, in pixels of the pictures');
  withModel(command, 'checkpoint')
    .option('--port <n>', 'where it listens; 0: any free port', wholeNumber(0), 8000)
    .option('--host <name>', 'address that it listens at; beyond this machine it needs a token', '127.0.0.1')
    .addOption(new Option('--token <text>', 'what clients must send as their API key').env('VISURF_TOKEN'))
    .option('--name <name>', 'of the model, for clients (default: that of its directory)')
    .option('--batch <n>', 'answers that are given at once', wholeNumber(1), 16)
    .option('--queue <n>', 'requests that wait or are answered; more are told to come later', wholeNumber(1), 64)
    .option(
      '--timeout <seconds>',
      'for one answer',
      number('a number above 0', (value) => value > 0),
      600,
    )
    .option('--max-body <MB>', 'size of a request', wholeNumber(1), 32)
    .option('--max-images <n>', 'of a request', wholeNumber(0), 8)
    .option('--max-tokens <n>', 'of an answer', wholeNumber(1), 4096)
    .option('--max-prompt-tokens <n>', 'of a conversation with its images', wholeNumber(1), 16384)
    .option('--allow-http-images', 'fetch images from addresses that clients name: also those of your own network');
  withJson(withCompute(withMeasure(command), true)).action(async (options: ServeOptions) => {
    await serve(options);
  });
  example(
    command,
    'visurf serve --model runs/cars --port 8000',
    'visurf serve --model runs/cars --host 0.0.0.0 --token "$(openssl rand -hex 16)"',
  );
}

const LOCAL = /^(localhost|127(\.\d+){3}|::1)$/;

async function serve(options: ServeOptions): Promise<void> {
  const { model, host, port, batch, queue, timeout, json } = options;
  const { openThread } = await import('@visurf/core/internals');
  const { makeApp } = await import('../serve/app.ts');
  const { listen } = await import('../serve/server.ts');
  const { UserError } = await import('@visurf/core');
  const progress = new Progress();
  const { revision, adapter, base, device, precision, stream } = options;
  const opened = await openThread(model, {
    ...(await measureOf(options)),
    ...{
      revision,
      adapter,
      base,
      device,
      precision,
      stream,
      atOnce: batch,
      onProgress: (each) => progress.download(each),
    },
  });
  using _policy = opened.policy;
  opened.origins.forEach((line) => progress.message(line));
  const token = options.token ?? (LOCAL.test(host) ? undefined : randomBytes(16).toString('hex'));
  const stopping = new AbortController();
  const app = makeApp({
    ...{ opened, names: namesOf(options), token, queue, timeout, stopped: stopping.signal },
    limits: { ...options, maxBody: options.maxBody * 2 ** 20, allowHttpImages: options.allowHttpImages ?? false },
    onError: (error) => console.error(error),
  });
  const server = await listen(app, port, host).catch((error: unknown) => {
    throw new UserError(`cannot listen: ${error instanceof Error ? error.message : String(error)}`, { where: `${host}:${port}`, remedy: 'Choose another --port or --host.' }); // prettier-ignore
  });
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${server.port}/v1`;
  if (json) printJson({ url, model: namesOf(options)[0], ...(token !== undefined && { token }) });
  else print(url);
  console.error(`serving ${namesOf(options)[0]} at ${url}; Ctrl-C stops it`);
  if (options.token === undefined && token !== undefined) console.error(`API key for clients: ${token}`);
  await untilStopped();
  console.error(`\n${app.busy()} requests are being finished; Ctrl-C again stops at once`);
  await server.stop(() => stopping.abort(new Error('the server is stopping')));
}

/** What clients know it by: its name, and what was typed. */
function namesOf({ name, model }: ServeOptions): [string, ...string[]] {
  const full = path.resolve(model);
  const own = ['best', 'last'].includes(path.basename(full)) ? path.basename(path.dirname(full)) : path.basename(full);
  return [name ?? own, model];
}
