/**
 * A route of one's own over a model in a thread: node express.ts RUN [PORT], then
 *
 *   curl --data-binary @street.jpg -H 'content-type: image/jpeg' 'localhost:3000/boxes?problem=the+red+car'
 */
import type { AddressInfo } from 'node:net';
import express from 'express';
import { loadPolicy, predict, UserError } from 'visurf';

const policy = await loadPolicy(process.argv[2] ?? 'runs/cars', { worker: true });
const app = express();

app.get('/health', (_, response) => void response.json({ status: 'ok' }));

app.post('/boxes', express.raw({ type: 'image/*', limit: '20mb' }), async (request, response) => {
  const { problem } = request.query;
  if (typeof problem !== 'string') return void response.status(400).json({ error: '?problem=... is missing' });
  try {
    const { boxes } = await predict(policy, {
      problem,
      images: [request.body as Buffer],
    });
    response.json({ boxes });
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    response.status(400).json({ error: error.reason });
  }
});

const server = app.listen(Number(process.argv[3] ?? 3000), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
