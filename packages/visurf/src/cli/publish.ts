import { createRequire } from 'node:module';
import type { Command } from 'commander';
import type { ExportOptions } from '@visurf/core';
import { stoppable } from './interrupt.ts';
import { dtypeOption, shardSizeOption } from './export.ts';
import { example, withJson, withSource } from './options.ts';
import type { JsonOption, SourceOptions } from './options.ts';
import { print, printJson, Progress } from './output.ts';

interface PublishOptions extends SourceOptions, JsonOption {
  readonly model?: string;
  readonly to: string;
  readonly merge?: true;
  readonly private?: true;
  readonly license?: string;
  readonly dtype?: ExportOptions['dtype'];
  readonly maxShardSize: number;
}

export function definePublish(program: Command): void {
  const command = program
    .command('publish')
    .argument('[run]', 'a run (its best checkpoint), a checkpoint, or a model')
    .description('put a trained model on the hub, with a page of its base, data, metrics and licence')
    .requiredOption('--to <owner/name>', 'name on the hub; the token is taken from HF_TOKEN or a login')
    .option('--merge', 'merge the adapter into the weights; otherwise the adapter alone is published')
    .option('--private', 'a repository that is made is private')
    .option('--license <name>', 'of the model (default: that of its base, where its page says one)')
    .addOption(dtypeOption())
    .addOption(shardSizeOption());
  command
    .option('--model <dir>', 'the same, as other commands take it')
    .option('--base <dir>', 'the base of an adapter');
  withJson(withSource(command)).action(async (run: string | undefined, options: PublishOptions) => {
    const model = run ?? options.model;
    if (model === undefined || (run !== undefined && options.model !== undefined)) {
      return command.error('error: name a run: visurf publish runs/cars --to owner/name');
    }
    await publishModel(model, options);
  });
  example(
    command,
    'visurf publish runs/cars --to me/cars',
    'visurf publish runs/cars --to me/cars --merge --dtype bfloat16',
  );
}

async function publishModel(model: string, options: PublishOptions): Promise<void> {
  const { publish } = await import('@visurf/core');
  const { to, merge, license, dtype, maxShardSize: maxShardBytes, revision, adapter, base, json } = options;
  const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };
  const progress = new Progress();
  const megabytes = (bytes: number): number => Math.round(bytes / 1e5) / 10;
  const published = await stoppable(
    async (signal) =>
      publish(model, {
        ...{ to, merge, license, dtype, maxShardBytes, revision, adapter, base, version, signal },
        private: options.private ?? false,
        onDownload: (each) => progress.download(each),
        onProgress: ({ done, total }) => progress.update('uploading (MB)', megabytes(done), megabytes(total)),
      }),
    'What has arrived is not sent again: repeat the command',
  );
  progress.finish();
  if (!published) return;
  if (json) printJson(published);
  else print(`${published.url} (${published.kind}, commit ${published.commit.slice(0, 7)})`);
}
