import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { Policy } from '@visurf/core';
import { samplingOf, streamAnswer, withSampling } from './answer.ts';
import type { SamplingOptions } from './answer.ts';
import { Conversation } from './conversation.ts';
import { isUserError, report } from './errors.ts';
import { measureOf, withMeasure } from './measure.ts';
import type { MeasuredOptions } from './measure.ts';
import { example, withCompute, withImages, withModel } from './options.ts';
import type { ComputeOptions, ModelOptions } from './options.ts';
import { downloads } from './output.ts';
import { Terminal } from './terminal.ts';

interface ChatOptions extends ModelOptions, Omit<SamplingOptions, 'maxNewTokens'>, MeasuredOptions, ComputeOptions {
  readonly image: string[];
}

const HELP = `/image FILE  show an image with the next message; may be repeated
/reset       forget the conversation
/help        this
/exit        end the chat, as Ctrl-D does; Ctrl-C stops an answer`;

export function defineChat(program: Command): void {
  const command = program
    .command('chat')
    .description('talk with a model about images, asked as it was trained; one line a message, also from a pipe');
  withMeasure(withImages(withModel(command), 'an image, shown with the first message; may be repeated'), false);
  withCompute(withSampling(command), true).action(async (options: ChatOptions) => {
    const { openModel } = await import('@visurf/core');
    const { model, revision, adapter, base, device, precision, stream } = options;
    const source = { revision, adapter, base, device, precision, stream, onProgress: downloads() };
    const opened = await openModel(model, { ...(await measureOf(options)), ...source });
    const { policy: loaded, experiment, origins, isGuided } = opened;
    using policy = loaded;
    for (const line of origins) console.error(line);
    const { maxNewTokens, system } = experiment.settings;
    // Where nothing says how a question is put, what is typed is the question.
    const put = (text: string): string => (isGuided ? experiment.userTurn(text) : text);
    const chat = new Chat(policy, { ...options, maxNewTokens }, new Conversation(system, put));
    for (const image of options.image) await chat.show(image);
    await chat.run();
  });
  example(command, 'visurf chat --model DIR --image street.jpg');
  command.addHelpText('after', `\nIn the chat:\n${HELP.replaceAll(/^/gm, '  ')}`);
}

class Chat {
  readonly #policy: Policy;
  readonly #options: ChatOptions & SamplingOptions;
  readonly #conversation: Conversation;
  #messages = 0;

  constructor(policy: Policy, options: ChatOptions & SamplingOptions, conversation: Conversation) {
    this.#policy = policy;
    this.#options = options;
    this.#conversation = conversation;
  }

  /** @throws UserError for a file that is no usable image */
  async show(file: string): Promise<void> {
    const image = resolve(file);
    await this.#policy.encoder.encode({ problem: '', images: [image] });
    this.#conversation.show(image);
  }

  async run(): Promise<void> {
    const terminal = new Terminal(`${this.#options.model}: /help says what can be typed`);
    await terminal.read(async (line, signal) => {
      try {
        return await this.#take(line.trim(), signal);
      } catch (error) {
        if (!isUserError(error)) throw error;
        report(error);
        return true;
      }
    });
  }

  /** Does what a line says. @returns false at the end of the chat */
  async #take(line: string, signal: AbortSignal): Promise<boolean> {
    const [, name, argument = ''] = /^\/([a-z]+)(?:\s+(.*))?$/.exec(line) ?? [];
    if (name === 'exit') return false;
    if (name !== undefined) await this.#command(name, argument);
    else if (line !== '') await this.#answer(line, signal);
    return true;
  }

  async #command(name: string, argument: string): Promise<void> {
    if (name === 'image' && argument !== '') {
      await this.show(argument);
      console.error(`${argument} is shown with the next message`);
    } else if (name === 'reset') {
      this.#conversation.reset();
      console.error('the conversation is forgotten');
    } else {
      if (name !== 'help') console.error(name === 'image' ? 'which file?' : `/${name} is no command`);
      console.error(HELP);
    }
  }

  async #answer(text: string, signal: AbortSignal): Promise<void> {
    const sampling = samplingOf(this.#options);
    // Each message has noise of its own.
    const options = { ...sampling, seed: sampling.seed + this.#messages++, signal };
    const answer = await streamAnswer(this.#policy, { messages: this.#conversation.with(text) }, options);
    this.#conversation.remember(text, answer);
  }
}
