/** The recipes for clusters, as far as one machine can run them. */
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { root, temporaryFolder } from './cli.ts';
import { Command } from './processes.ts';
import { eventsOf, makeFolder, usual } from './training.ts';

const recipes = join(root, 'examples/cluster');
const venv = join(root, '.tools/venv/bin');
const config = `${usual.replace('steps: 1', 'steps: 5').replace('promptsPerStep: 1', 'promptsPerStep: 2')}checkpoint: { every: 1 }\n`;
const visurf = join(root, 'visurf');

const finished = (folder: string): unknown => eventsOf(join(folder, 'run')).at(-1);
const done = { type: 'end', step: 5, reason: 'done' };

test.runIf(existsSync(join(venv, 'torchrun')))(
  'torchrun: where a process falls, all are started again, and the run goes on by itself',
  async () => {
    const folder = await makeFolder({ config });
    const args = [join(recipes, 'torchrun.sh'), '127.0.0.1', join(folder, 'config.yaml')];
    const { PATH, ...env } = process.env;
    const torchrun = new Command('sh', args, {
      ...{ ...env, PATH: `${venv}:${PATH}`, OMP_NUM_THREADS: '1' },
      ...{ NODES: '1', GPUS: '2', RESTARTS: '1', PORT: '29751', VISURF: visurf },
    });
    await torchrun.says('step 2: checkpoint');
    const victim = torchrun.rank(1)!;
    process.kill(victim, 'SIGKILL');
    const { code, stderr } = await torchrun.end();
    expect([code, finished(folder)], stderr).toEqual([0, done]);
    const events = eventsOf(join(folder, 'run'));
    expect(events.filter(({ type }) => type === 'resume')).toMatchObject([{ processes: 2 }]);
  },
  120_000,
);

test('Slurm: a task for every rank', async () => {
  const [folder, bin] = [await makeFolder({ config }), temporaryFolder()];
  const program = (name: string, text: string): void => {
    writeFileSync(join(bin, name), `#!/bin/bash\n${text}\n`);
    chmodSync(join(bin, name), 0o755);
  };
  // What Slurm sets and does for the tasks of one node.
  program('scontrol', 'echo localhost');
  program(
    'srun',
    '[ "$1" = --kill-on-bad-exit=1 ] || exit 9\nshift\nfor i in 0 1; do SLURM_PROCID=$i SLURM_LOCALID=$i "$@" & pids="$pids $!"; done\n' +
      'code=0; for pid in $pids; do wait $pid || code=$?; done; exit $code',
  );
  const { PATH, ...env } = process.env;
  const job = new Command('bash', [join(recipes, 'slurm.sbatch'), join(folder, 'config.yaml')], {
    ...{ ...env, PATH: `${bin}:${PATH}`, VISURF: visurf, SLURM_CPUS_PER_TASK: '1' },
    ...{ SLURM_JOB_ID: '4711', SLURM_JOB_NODELIST: 'localhost', SLURM_NTASKS: '2', SLURM_NTASKS_PER_NODE: '2' },
  });
  const { code, stderr } = await job.end();
  expect([code, finished(folder)], stderr).toEqual([0, done]);
  expect(eventsOf(join(folder, 'run'))[0]).toMatchObject({ type: 'start', processes: 2 });
});

interface Pod {
  readonly spec: {
    readonly containers: readonly {
      name: string;
      command: string[];
      resources: { limits: object };
      volumeMounts: { name: string }[];
    }[];
    readonly volumes: readonly { name: string }[];
  };
}
interface PyTorchJob {
  readonly apiVersion: string;
  readonly kind: string;
  readonly spec: {
    readonly pytorchReplicaSpecs: Readonly<Record<string, { replicas: number; restartPolicy: string; template: Pod }>>;
  };
}

const read = (name: string): unknown => parse(readFileSync(join(recipes, name), 'utf8'), { merge: true });

test('Kubernetes: a PyTorchJob whose pods are alike, and are started again', () => {
  const { apiVersion, kind, spec } = read('pytorchjob.yaml') as PyTorchJob;
  expect([apiVersion, kind]).toEqual(['kubeflow.org/v1', 'PyTorchJob']);
  const { Master, Worker, ...others } = spec.pytorchReplicaSpecs;
  expect([others, Master!.replicas, Worker!.template]).toEqual([{}, 1, Master!.template]);
  for (const { restartPolicy, template } of [Master!, Worker!]) {
    expect(restartPolicy).toBe('OnFailure');
    const [container] = template.spec.containers;
    // The operator looks for a container of this name.
    expect(container).toMatchObject({ name: 'pytorch', resources: { limits: { 'nvidia.com/gpu': 1 } } });
    expect(container!.command.slice(0, 2)).toEqual(['visurf', 'train']);
    expect(container!.command).toContain('--continue');
    expect(container!.volumeMounts.map(({ name }) => name)).toEqual(template.spec.volumes.map(({ name }) => name));
  }
});

test('SkyPilot: torchrun on every node', () => {
  const task = read('skypilot.yaml') as {
    num_nodes: number;
    resources: { accelerators: string };
    run: string;
    setup: string;
  };
  expect(Object.keys(task)).toEqual(['name', 'resources', 'num_nodes', 'file_mounts', 'setup', 'run']);
  expect(task).toMatchObject({ num_nodes: 2, resources: { accelerators: 'H100:8' } });
  for (const each of ['SKYPILOT_NUM_NODES', 'SKYPILOT_NODE_RANK', 'SKYPILOT_NUM_GPUS_PER_NODE', 'SKYPILOT_NODE_IPS']) {
    expect(task.run).toContain(`$${each}`);
  }
  expect(task.run).toMatch(/visurf train \S+ --continue\n$/);
});
