/** MLflow's REST interface (2.0): a run of an experiment, found again by a tag. */
import { UserError } from '@visurf/core/records';
import type { Sink } from './follow.ts';
import { addressOf, post } from './http.ts';

/** Numbers in a call, and characters of a parameter. */
const MOST_METRICS = 1_000;
const LONGEST = 500;
const TAG = 'visurf.run';

interface Remembered {
  readonly run: string;
}

const idOf = (value: unknown): string => (typeof value === 'string' || typeof value === 'number' ? String(value) : '');

/** `optimizer.learningRate` and so on. */
function flat(value: unknown, name: string): [string, string][] {
  if (typeof value !== 'object' || value === null) return [[name, String(value).slice(0, LONGEST)]];
  return Object.entries(value).flatMap(([key, inner]) => flat(inner, name === '' ? key : `${name}.${key}`));
}

/** @param target address of its server, with `?experiment=NAME` */
export function mlflow(target: string): Sink {
  const address = addressOf(target);
  const experiment = address.searchParams.get('experiment') ?? 'visurf';
  let run = '';
  const call = async (method: string, body: unknown): Promise<Record<string, unknown> | undefined> =>
    (await post(new URL(`${address.pathname.replace(/\/$/, '')}/api/2.0/mlflow/${method}`, address.origin), body)) as
      Record<string, unknown> | undefined;

  async function experimentId(): Promise<string> {
    const found = await call('experiments/search', {
      filter: `name = '${experiment.replaceAll("'", '')}'`,
      max_results: 1,
    });
    const [first] = (found?.['experiments'] ?? []) as { experiment_id?: unknown }[];
    return idOf(first?.experiment_id ?? (await call('experiments/create', { name: experiment }))?.['experiment_id']);
  }

  return {
    async open({ name, key, config, started }, remembered) {
      const known = (remembered as Remembered | undefined)?.run;
      const experimentOf = await experimentId();
      const filter = `tags.\`${TAG}\` = '${key}'`;
      const found = await call('runs/search', { experiment_ids: [experimentOf], filter, max_results: 1 });
      const [first] = (found?.['runs'] ?? []) as { info?: { run_id?: unknown } }[];
      run = idOf(first?.info?.run_id ?? known);
      if (run === '') {
        const tags = [{ key: TAG, value: key }];
        const made = await call('runs/create', {
          experiment_id: experimentOf,
          run_name: name,
          start_time: started,
          tags,
        });
        run = idOf((made?.['run'] as { info?: { run_id?: unknown } } | undefined)?.info?.run_id);
        if (run === '') throw new UserError('MLflow made no run', { where: address.origin });
        const parameters = flat(config, '').map(([parameter, value]) => ({ key: parameter, value }));
        for (let at = 0; at < parameters.length; at += 100)
          await call('runs/log-batch', { run_id: run, params: parameters.slice(at, at + 100) });
      }
      return { run } satisfies Remembered;
    },
    async send(points) {
      const metrics = points.flatMap(({ step, time, metrics: values }) =>
        Object.entries(values).map(([key, value]) => ({ key, value, timestamp: time, step })),
      );
      for (let at = 0; at < metrics.length; at += MOST_METRICS)
        await call('runs/log-batch', { run_id: run, metrics: metrics.slice(at, at + MOST_METRICS) });
      return { run } satisfies Remembered;
    },
    async end(reason) {
      const status = reason === 'done' ? 'FINISHED' : reason === 'failed' ? 'FAILED' : 'KILLED';
      await call('runs/update', { run_id: run, status, end_time: Date.now() });
    },
  };
}
