/** Options that several commands share, and what reads their values. */

import { resolve } from 'node:path';
import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import type { AnsweredBy, Config, PromptInput } from '@visurf/core';

export interface JsonOption {
  readonly json?: true;
}

export interface ComputeOptions {
  readonly device: string;
  readonly precision: Config['precision'];
  readonly stream?: Config['stream'];
}

/** Where the parts of a model come from. */
export interface SourceOptions {
  readonly revision?: string;
  readonly adapter?: string;
  readonly base?: string;
}

export interface ModelOptions extends SourceOptions {
  readonly model: string;
}

export interface PromptOptions extends ModelOptions {
  readonly image: string[];
  readonly prompt?: string;
  readonly system?: string;
  readonly messages?: string;
  readonly think?: boolean;
}

export function withJson(command: Command): Command {
  return command.option('--json', 'print one JSON document on standard output, everything else on standard error');
}

/** `--device`, `--precision` and `--stream`; without defaults where a configuration has its own. */
export function withCompute(command: Command, defaults: boolean): Command {
  const [device, precision] = [deviceOption(), precisionOption()];
  return command
    .addOption(defaults ? device.default('cpu') : device)
    .addOption(defaults ? precision.default('float32') : precision)
    .addOption(
      new Option('--stream <type>', 'between layers, with --precision bfloat16').choices(['float32', 'bfloat16']),
    );
}

export const deviceOption = (): Option =>
  new Option('--device <device>', 'where the model runs: cpu, cuda, cuda:N, auto').argParser(deviceName);

export const precisionOption = (): Option =>
  new Option('--precision <type>', 'of products; weights are float32, or float64 with it').choices([
    ...['float32', 'bfloat16', 'float64'],
  ]);

/** A device as a configuration names it. */
function deviceName(text: string): string {
  if (/^(cpu|cuda(:(0|[1-9]\d*))?|auto)$/.test(text)) return text;
  throw new InvalidArgumentError('Allowed choices are cpu, cuda, cuda:N, auto.');
}

/** `--model`, and what says where its parts come from. */
export function withModel(command: Command, description = 'checkpoint in Hugging Face layout'): Command {
  const model = `${description}: a directory, a run, or owner/name on the hub`;
  return withSource(command.requiredOption('--model <dir>', model)).option(
    '--base <dir>',
    'the base of a model that is an adapter, where it is not where the adapter says',
  );
}

/** What goes with a model, but for `--base`. */
export function withSource(command: Command): Command {
  return command
    .option('--revision <name>', 'branch, tag or commit of a model on the hub (default: main)')
    .option('--adapter <dir>', 'a LoRA adapter to put on the model');
}

/** Servers that answer in place of a model that is loaded here. */
export interface ServerOptions {
  readonly backend?: 'vllm' | 'sglang';
  readonly server?: readonly string[];
}

/** `--backend` and `--server`. */
export function withServers(command: Command): Command {
  const backend = new Option('--backend <program>', 'servers answer, and no model is loaded here to be asked');
  return command
    .addOption(backend.choices(['vllm', 'sglang']))
    .option('--server <url>', 'their address; may be repeated', append);
}

/** What `withServers` read, for the library. Ends the command where one of the two is missing. */
export function answeredBy({ backend, server }: ServerOptions, command: Command): AnsweredBy | undefined {
  if ((backend === undefined) !== (server === undefined)) command.error('error: --backend and --server go together');
  return backend && server && { backend, servers: server };
}

/** `--image`, any number of times. */
export function withImages(command: Command, description: string): Command {
  return command.option('--image <file>', description, append, []);
}

/** The model, and what it is asked: a question about images, or a whole conversation. */
export function withPrompt(command: Command): Command {
  return withImages(withModel(command), 'an image, shown before the prompt; may be repeated')
    .option('--prompt <text>', 'the question')
    .option('--system <text>', 'the system message')
    .option('--messages <file.json>', 'a conversation instead, in the form of Hugging Face chat templates')
    .option('--think', 'have the prompt open a thought, where the chat template can (default: as it does of itself)')
    .option('--no-think', 'have it open none');
}

/** What `withPrompt` read, for the library. */
export async function promptInput(options: PromptOptions, command: Command): Promise<PromptInput> {
  const { messages, prompt, system, image } = options;
  if (messages !== undefined) {
    if (prompt !== undefined || system !== undefined || image.length > 0) {
      command.error('error: --messages holds the whole conversation: leave out --prompt, --system and --image');
    }
    const { readMessages } = await import('@visurf/core');
    return { messages: readMessages(messages) };
  }
  if (prompt === undefined) command.error('error: one of --prompt and --messages is needed');
  return { problem: prompt, images: image.map((path) => resolve(path)), ...(system !== undefined && { system }) };
}

/** Reads a whole number that is at least `least`. */
export function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`It must be a whole number, at least ${least}.`);
  };
}

/** Reads a number for which `allowed` holds; `description` says which those are. */
export function number(description: string, allowed: (value: number) => boolean): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && Number.isFinite(value) && allowed(value)) return value;
    throw new InvalidArgumentError(`It must be ${description}.`);
  };
}

/** Reads `1,2,3`. */
export function tokenIds(text: string): number[] {
  return text.split(',').map((part) => wholeNumber(0)(part.trim()));
}

/** The end of every command's help. */
export function example(command: Command, ...lines: string[]): Command {
  return command.addHelpText('after', `\nExample:\n${lines.map((line) => `  $ ${line}`).join('\n')}`);
}

/** Collects the values of an option that may be repeated. */
export function append(value: string, previous: readonly string[] = []): string[] {
  return [...previous, value];
}
