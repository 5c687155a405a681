/** What the studio answers: data of runs as JSON, pictures by their hash, the page itself. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { Hono, type Context } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { stream, streamSSE } from 'hono/streaming';
import { messageOf, UserError, type StartEvent } from '@visurf/core/records';
import { counterfactual, type Switches } from './counterfactual.ts';
import { correctionsFile, decide, decisionsOf } from './court.ts';
import { FILTERS, SORTS, type Filter, type Sort } from './group-query.ts';
import { guard, type GuardOptions } from './guard.ts';
import type { Elsewhere } from './elsewhere.ts';
import { MEASURED } from './histograms.ts';
import type { Page } from './page.ts';
import type { AnswerRecord, RunView } from './run-view.ts';
import type { ComparedAnswer, Court, GroupDetails, Run, TryWord } from './answers.ts';
import type { Studio } from './studio.ts';
import type { TryRequest } from './try.ts';

export interface AppOptions extends GuardOptions {
  readonly studio: Studio;
  readonly page: Page;
  /** Where pictures are that runs have not kept. */
  readonly elsewhere?: Elsewhere | undefined;
  /** Answers a question about a picture with two models; unset: the page says that there is none. */
  readonly onTry?: ((request: TryRequest) => Promise<void>) | undefined;
}

const POINTS = { fallback: 400, most: 5_000 };
const COLUMNS = { fallback: 100, most: 400 };
const ROWS = { fallback: 50, most: 500 };
const SUSPECTS = 200;
/** Bytes of a request. */
const LARGEST_BODY = 24 << 20;

class Missing extends Error {}

function number(context: Context, name: string, { fallback, most }: { fallback: number; most: number }): number {
  const value = Number(context.req.query(name) ?? fallback);
  if (Number.isSafeInteger(value) && value >= 0) return Math.min(value, most);
  throw new UserError(`${name} must be a whole number`);
}

function oneOf<T extends string>(context: Context, name: string, all: Readonly<Record<T, string>>, fallback: T): T {
  const value = context.req.query(name) ?? fallback;
  if (Object.hasOwn(all, value)) return value as T;
  throw new UserError(`${name} must be one of ${Object.keys(all).join(', ')}`);
}

export function createApp({ studio, page, onTry, elsewhere, ...guarding }: AppOptions): Hono {
  const app = new Hono();
  const { base } = guarding;
  const runOf = (context: Context): RunView => {
    const run = studio.run(context.req.param('id') ?? '');
    if (!run) throw new Missing('there is no such run; it may have been moved or deleted');
    return run;
  };

  app.use('*', guard(guarding));
  app.use(
    '*',
    bodyLimit({
      maxSize: LARGEST_BODY,
      onError: (context) => context.json({ error: { message: 'the request is too long' } }, 413),
    }),
  );
  app.onError((error, context) => {
    const status = error instanceof Missing ? 404 : error instanceof UserError ? 400 : 500;
    // A record that is nested so deep is read, and cannot be written.
    const isDeep = messageOf(error).includes('Maximum call stack');
    const message = isDeep ? 'what was recorded is nested too deep to be shown' : messageOf(error);
    return context.json({ error: { message } }, isDeep ? 400 : status);
  });

  const api = new Hono();
  api.get('/runs', (context) => context.json(studio.runs().map((run) => run.summary())));
  api.get('/runs/:id', (context) => {
    const run = runOf(context);
    const start = startOf(run);
    const warnings = run.events.filter((event) => event.type === 'warning');
    const resumes = run.events.filter(({ type }) => type === 'resume').map(({ step, time }) => ({ step, time }));
    const decided = decisionsOf(run).size;
    return context.json({
      ...run.summary(),
      ...{ version: run.version, config: run.config.text, damaged: run.damaged },
      ...{ hasElsewhere: elsewhere !== undefined, start, warnings, resumes, evaluations: run.evaluations(), decided },
    } satisfies Run);
  });
  api.get('/runs/:id/curves', (context) => context.json(runOf(context).curves(number(context, 'points', POINTS))));
  api.get('/runs/:id/histogram', async (context) => {
    const what = oneOf(context, 'what', MEASURED, 'reward');
    return context.json(await runOf(context).histogram(what, number(context, 'columns', COLUMNS)));
  });
  api.get('/runs/:id/groups', async (context) => {
    const [id, text, step] = [context.req.query('sample'), context.req.query('text'), context.req.query('step')];
    return context.json(
      await runOf(context).groups({
        filter: oneOf<Filter>(context, 'filter', FILTERS, 'all'),
        sort: oneOf<Sort>(context, 'sort', SORTS, 'newest'),
        ...{ id: id === '' ? undefined : id, text },
        step: step === undefined || step === '' ? undefined : number(context, 'step', { fallback: 0, most: 1e9 }),
        from: number(context, 'from', { fallback: 0, most: 1e9 }),
        limit: number(context, 'limit', ROWS),
      }),
    );
  });
  api.get('/runs/:id/groups/:step/:place', async (context) => {
    const run = runOf(context);
    const { step, place } = context.req.param();
    const group = await run.group(Number(step), Number(place));
    if (!group) throw new Missing('there is no such group; the run may have gone back behind it');
    const weights = weightsOf(run);
    const details = { group, sample: run.sample(group.id), history: await run.history(group.id), weights };
    return context.json(details satisfies GroupDetails);
  });
  api.post('/runs/:id/counterfactual/:step/:place', async (context) => {
    const run = runOf(context);
    const { step, place } = context.req.param();
    const group = await run.group(Number(step), Number(place));
    if (!group) throw new Missing('there is no such group; the run may have gone back behind it');
    const switches = switchesOf(await body(context));
    const outcome = counterfactual(group, weightsOf(run), switches);
    if (!outcome) throw new UserError('this group was judged by terms of another task than these switches know');
    return context.json(outcome);
  });
  api.get('/runs/:id/evaluations/:step', (context) => {
    const run = runOf(context);
    const step = Number(context.req.param('step'));
    const against = context.req.query('against');
    return context.json(compared(run, step, against === undefined || against === '' ? undefined : Number(against)));
  });
  api.get('/runs/:id/court', async (context) => {
    const run = runOf(context);
    const decisions = decisionsOf(run);
    const suspects = await run.suspects(SUSPECTS);
    return context.json({
      file: fromHere(correctionsFile(run)),
      suspects: suspects.map((each) => ({ ...each, sample: run.sample(each.id), decision: decisions.get(each.id) })),
    } satisfies Court);
  });
  api.post('/runs/:id/court', async (context) => {
    const run = runOf(context);
    return context.json({ file: decide(run, await context.req.text()) });
  });
  api.post('/runs/:id/try', async (context) => {
    const run = runOf(context);
    if (!onTry) throw new UserError('this studio answers no questions', { remedy: 'Start it where libtorch is.' });
    const { problem, image } = (await body(context)) as { problem?: unknown; image?: unknown };
    if (typeof problem !== 'string' || typeof image !== 'string')
      throw new UserError('a question needs a problem and an image as base64');
    const asked = { run: run.directory, base: run.base, problem, image: Buffer.from(image, 'base64') };
    // A line for every word: the page shows it while the rest is said.
    context.header('content-type', 'application/x-ndjson');
    return stream(context, async (lines) => {
      const gone = new AbortController();
      lines.onAbort(() => gone.abort());
      const write = (word: TryWord | { readonly kind: 'failed'; readonly message: string }): void =>
        void lines.write(`${JSON.stringify(word)}\n`);
      try {
        await onTry({ ...asked, signal: gone.signal, onWord: write });
      } catch (error) {
        write({ kind: 'failed', message: messageOf(error) });
      }
    });
  });
  api.get('/runs/:id/images/:name', async (context) => {
    const file = runOf(context).picture(context.req.param('name'));
    if (file === undefined) throw new Missing('there is no such picture');
    const bytes = await readFile(file);
    return context.body(bytes, 200, {
      'content-type': 'image/webp',
      // Its name is the hash of what it shows.
      'cache-control': 'private, max-age=31536000, immutable',
    });
  });
  api.get('/runs/:id/pictures/:sample', async (context) => {
    runOf(context);
    const bytes = await elsewhere?.picture(context.req.param('sample'));
    if (!bytes) throw new Missing('there is no such picture; --images names a folder of them');
    return context.body(bytes, 200, { 'content-type': 'image/webp', 'cache-control': 'private, max-age=600' });
  });
  api.get('/live', (context) =>
    streamSSE(context, async (stream) => {
      const leave = studio.watch((changed) => void stream.writeSSE({ event: 'news', data: JSON.stringify(changed) }));
      stream.onAbort(leave);
      while (!stream.aborted && !stream.closed) {
        // Tells connections that are dead from quiet ones.
        await stream.writeSSE({ event: 'alive', data: '' });
        await stream.sleep(15_000);
      }
      leave();
    }),
  );
  api.all('*', () => {
    throw new Missing('there is nothing here');
  });

  app.route(`${base}/api`, api);
  app.get(`${base}/assets/:name`, (context) => {
    const asset = page.assets.get(context.req.param('name'));
    if (!asset) throw new Missing('there is nothing here');
    return context.body(asset.bytes, 200, { 'content-type': asset.type, 'cache-control': 'no-cache' });
  });
  if (base !== '') app.get(base, (context) => context.redirect(`${base}/${query(context)}`));
  app.get(`${base}/*`, (context) => context.html(page.html(`${base}/`)));
  return app;
}

const query = (context: Context): string => new URL(context.req.url).search;

/** Below the working directory from there: shorter, and no place of this machine. */
function fromHere(file: string): string {
  const relative = path.relative(process.cwd(), file);
  return relative.startsWith('..') ? file : relative;
}

const startOf = (run: RunView): StartEvent | undefined =>
  run.events.find((event): event is StartEvent => event.type === 'start');

const weightsOf = (run: RunView): Readonly<Record<string, number>> => startOf(run)?.weights ?? {};

async function body(context: Context): Promise<Record<string, unknown>> {
  try {
    const value = JSON.parse(await context.req.text()) as unknown;
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new UserError('the request is no JSON object');
}

function switchesOf(asked: Record<string, unknown>): Switches {
  const pick = <T extends string>(name: string, all: readonly T[]): T => {
    const value = asked[name];
    if (all.some((each) => each === value)) return value as T;
    throw new UserError(`${name} must be one of ${all.join(', ')}`);
  };
  const { label, weight } = asked;
  if (typeof label !== 'boolean') throw new UserError('label must be true or false');
  if (typeof weight !== 'number' || !Number.isFinite(weight)) throw new UserError('weight must be a number');
  return {
    ...{ label, weight },
    eliminate: pick('eliminate', ['on', 'off', 'neutral']),
    smooth: pick('smooth', ['reward', 'accuracy', 'off']),
    inject: pick('inject', ['always', 'on-failure']),
    thinking: pick('thinking', ['eliminate', 'keep']),
    std: pick('std', ['sample', 'population', 'none']),
  };
}

/** Answers of an evaluation, beside those of another; what changed most comes first. */
function compared(run: RunView, step: number, against: number | undefined): ComparedAnswer[] {
  const before = new Map((against === undefined ? [] : run.answers(against)).map((answer) => [answer.id, answer]));
  const change = ({ id, reward = 0 }: AnswerRecord): number => {
    const other = before.get(id);
    return other ? reward - (other.reward ?? 0) : 0;
  };
  const rows = run.answers(step).map((answer) => {
    return { ...answer, before: before.get(answer.id), change: change(answer), sample: run.sample(answer.id) };
  });
  const byReward = (a: AnswerRecord, b: AnswerRecord): number => (a.reward ?? 0) - (b.reward ?? 0);
  return rows.sort((a, b) => Math.abs(b.change) - Math.abs(a.change) || byReward(a, b));
}
