/** trackio (0.43): all points of a run as one run of a project; a point that is sent twice has the same id, and is kept once. */
import type { Followed, Sink } from './follow.ts';
import { addressOf, post } from './http.ts';

/** @param target address of its server, with `?project=NAME` and `?write_token=TOKEN` as it prints them */
export function trackio(target: string): Sink {
  const address = addressOf(target);
  const token = address.searchParams.get('write_token');
  const project = address.searchParams.get('project') ?? 'visurf';
  const url = new URL(`${address.pathname.replace(/\/$/, '')}/api/bulk_log`, address.origin);
  let followed: Followed | undefined;
  return {
    open(opened) {
      followed = opened;
      return Promise.resolve(undefined);
    },
    async send(points) {
      if (!followed) throw new Error('the sink is not open');
      const { name, key } = followed;
      const logs = points.map(({ step, metrics, isEvaluation }) => ({
        ...{ project, run: name, run_id: key, step, metrics },
        log_id: `${key}-${isEvaluation ? 'eval' : 'step'}-${step}`,
      }));
      await post(url, { logs, hf_token: null }, token === null ? {} : { 'x-trackio-write-token': token });
      return undefined;
    },
  };
}
