/** What was said in a chat, and what will be shown with the next message. */

import type { Message } from '@visurf/core';

export class Conversation {
  readonly #system: Message[];
  readonly #put: (text: string) => string;
  #turns: Message[] = [];
  #images: string[] = [];

  /** @param put makes the user turn of what was typed */
  constructor(system: string | undefined, put: (text: string) => string) {
    this.#put = put;
    this.#system = system === undefined ? [] : [{ role: 'system', content: system }];
  }

  /** Shows an image with the next message, before its text. */
  show(image: string): void {
    this.#images.push(image);
  }

  /** The conversation with this message as its last. */
  with(text: string): Message[] {
    return [...this.#system, ...this.#turns, this.#ask(text)];
  }

  /** Remembers a message, the images that it was shown with, and the answer. */
  remember(text: string, answer: string): void {
    this.#turns.push(this.#ask(text), { role: 'assistant', content: answer });
    this.#images = [];
  }

  /** Forgets everything but the system message. */
  reset(): void {
    [this.#turns, this.#images] = [[], []];
  }

  #ask(text: string): Message {
    const images = this.#images.map((image) => ({ type: 'image', image }) as const);
    return { role: 'user', content: [...images, { type: 'text', text: this.#put(text) }] };
  }
}
