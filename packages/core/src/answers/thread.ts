/** The thread that has a model (policy-thread.ts): questions in, answers out, many at a time. */
import { setNumThreads } from '@visurf/torch';
import { parentPort, workerData } from 'node:worker_threads';

import { loadLocalPolicy, type Policy } from '../policy.ts';
import { failureOf, type Reply, type Request, type ThreadData } from './protocol.ts';
import { AnswerQueue } from './queue.ts';
import { scoreResponse } from './score.ts';

const { base, options, most, threads } = workerData as ThreadData;
const port = parentPort!;
const say = (reply: Reply): void => port.postMessage(reply);
const cancelling = new Map<number, AbortController>();

async function serve(policy: Policy, queue: AnswerQueue, request: Exclude<Request, { kind: 'cancel' }>): Promise<void> {
  const { id, kind } = request;
  const controller = new AbortController();
  cancelling.set(id, controller);
  try {
    if (kind === 'spell') {
      const { tokenizer } = policy.encoder;
      say({ kind: 'done', id, result: request.tokens.map((token) => tokenizer.bytesOf(token) ?? '') });
    } else if (kind === 'score') {
      say({
        kind: 'done',
        id,
        result: await queue.alone(() => scoreResponse(policy, request.input, request.response)),
      });
    } else {
      const asked = { ...request.options, signal: controller.signal };
      const result = await queue.ask(request.input, asked, (member, piece) =>
        say({ kind: 'piece', id, member, piece }),
      );
      say({ kind: 'done', id, result });
    }
  } catch (error) {
    say({ kind: 'failed', id, failure: failureOf(error) });
  } finally {
    cancelling.delete(id);
  }
}

try {
  if (threads !== undefined) setNumThreads(threads);
  const policy = loadLocalPolicy(base, options);
  const queue = new AnswerQueue(policy, most);
  port.on('message', (request: Request) => {
    if (request.kind === 'cancel') cancelling.get(request.id)?.abort();
    else void serve(policy, queue, request);
  });
  const { directory, settings, model } = policy;
  say({ kind: 'opened', opened: { directory, settings, vocabularySize: model.config.text.vocabularySize } });
} catch (error) {
  say({ kind: 'failed', id: undefined, failure: failureOf(error) });
}
