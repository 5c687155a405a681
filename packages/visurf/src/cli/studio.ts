import type { Command } from 'commander';
import { example, wholeNumber } from './options.ts';
import { print } from './output.ts';

interface StudioOptions {
  readonly port: number;
  readonly host?: string;
  readonly token?: string;
  readonly base?: string;
}

export function defineStudio(program: Command): void {
  const studio = program
    .command('studio')
    .description('watch runs in a browser: curves, groups with their pictures, evaluations')
    .argument('[dir...]', 'runs, or folders that hold some (default: runs)')
    .option('--port <n>', 'where it listens; 0: any that is free', wholeNumber(0), 7070)
    .option('--host <address>', 'let other machines in by this address, with a token')
    .option('--token <secret>', 'what others must show (default: a new one, in the link)')
    .option('--base <path>', 'the path that a proxy puts before it')
    .action(async (folders: string[], { port, host, token, base }: StudioOptions) => {
      const { startStudio } = await import('@visurf/studio');
      const roots = folders.length > 0 ? folders : ['runs'];
      const server = await startStudio({ roots, port, host, token, base });
      print(server.link);
      await new Promise<void>((resolve) => {
        for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => resolve());
      });
      await server.close();
    });
  example(studio, 'visurf studio runs', 'visurf studio runs/cars --port 0');
}
