import { distributed, tensor, empty, ones } from '@visurf/torch';
const rank = Number(process.env.RANK), size = Number(process.env.WORLD_SIZE);
const t0 = performance.now();
const g = await distributed.join({ rank, size, host: '127.0.0.1', port: Number(process.env.MASTER_PORT), timeout: 15 });
console.log(rank, 'joined', (performance.now()-t0).toFixed(0));
const x = ones([3], {dtype:'bfloat16'}); await g.allReduce(x).done; console.log(rank, x.toArray(), await g.agree([rank, 2*rank]), JSON.stringify(await g.gather({rank, t: 'ä'.repeat(rank)})));
let t = performance.now(); for (let i = 0; i < 200; i++) await g.agree([i]); console.log(rank, 'agree ms', (performance.now()-t)/200);
t = performance.now(); for (let i = 0; i < 200; i++) { g.allReduce(x).wait(); } console.log(rank, 'wait ms', (performance.now()-t)/200);
const mode = process.env.MODE;
try {
if (mode === 'kill' && rank === 1) process.kill(process.pid, 'SIGKILL');
if (mode === 'kill0' && rank === 0) process.kill(process.pid, 'SIGKILL');
if (mode === 'stop' && rank === 1) process.kill(process.pid, 'SIGSTOP');
if (mode === 'stop0' && rank === 0) process.kill(process.pid, 'SIGSTOP');
if (mode === 'late' && rank === 1) await new Promise((r) => setTimeout(r, 60000));
if (mode === 'err' && rank === 1) throw new Error('my disk is full');
if (mode === 'err0' && rank === 0) throw new Error('my disk is full');
t = performance.now();
await g.barrier();
g.leave(); console.log(rank, 'left', performance.now() - t);
} catch (e) { console.log(rank, e.name, e.ranks, e.message, (performance.now() - t).toFixed(0)); const t1 = performance.now(); g.abandon(e.message); console.log(rank, 'abandoned', (performance.now() - t1).toFixed(0)); process.exit(2); }
