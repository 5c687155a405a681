/**
 * ShareGPT and LLaMA-Factory: `messages` or `conversations` with `images` beside them; parts of a message as
 * `{type: image_url, value: path}`; and `instruction`, `input`, `output`. OpenAI's messages, which differ in the parts.
 */
import { listOf, questionsOf, roleOf, type Turn } from './conversation.ts';
import { turnsOf } from './llava.ts';
import { fault, isObject, isText, objectsOf, type Item } from './record.ts';
import type { Glance, ReadContext, Reader } from './reader.ts';
import { records, type Source } from './source.ts';

const isMessages = ({ first }: Glance): boolean =>
  objectsOf(first?.['messages']).some((turn) => 'role' in turn && 'content' in turn);

const hasOpenAiParts = ({ first }: Glance): boolean =>
  objectsOf(first?.['messages']).some((turn) => objectsOf(turn['content']).some((part) => isObject(part['image_url'])));

export const openai: Reader = {
  name: 'openai',
  knows: (glance) => isMessages(glance) && (hasOpenAiParts(glance) || !('images' in (glance.first ?? {}))),
  read: readMessages,
};

export const sharegpt: Reader = {
  name: 'sharegpt',
  knows: (glance) =>
    isMessages(glance) ||
    objectsOf(glance.first?.['conversations']).length > 0 ||
    (isText(glance.first?.['instruction']) && 'output' in glance.first),
  read: readMessages,
};

async function* readMessages(source: Source, context: ReadContext): AsyncGenerator<Item> {
  for (const file of source.files) {
    for await (const record of records(file)) {
      if ('kind' in record) yield record;
      else {
        const { place, value } = record;
        const images: unknown[] = listOf(value['images'] ?? value['image']);
        const videos: unknown[] = [];
        const turns = conversationOf(value, images, videos);
        if (typeof turns === 'string') yield fault(place, turns);
        else yield* questionsOf({ place, turns, images, videos, id: value['id'], record: value }, context);
      }
    }
  }
}

/** Turns of a record; images and videos within messages are added to `images` and `videos`. */
export function conversationOf(
  value: Readonly<Record<string, unknown>>,
  images: unknown[],
  videos: unknown[] = [],
): Turn[] | string {
  if (Array.isArray(value['messages'])) return messageTurns(value['messages'], images, videos);
  if (Array.isArray(value['conversations'])) {
    const [first] = objectsOf(value['conversations']);
    return 'role' in (first ?? {})
      ? messageTurns(value['conversations'], images, videos)
      : turnsOf(value['conversations'], 'from', 'value');
  }
  const { instruction, input, output } = value;
  if (!isText(instruction) || typeof output !== 'string') return 'no conversation';
  const asked = isText(input) ? `${instruction}\n${input}` : instruction;
  return [
    { role: 'user', text: asked },
    { role: 'assistant', text: output },
  ];
}

function messageTurns(messages: readonly unknown[], images: unknown[], videos: unknown[]): Turn[] | string {
  const turns: Turn[] = [];
  for (const [i, message] of messages.entries()) {
    if (!isObject(message)) return `message ${i + 1} is not an object`;
    const role = roleOf(message['role']);
    if (role === undefined) return `message ${i + 1} has no role that is known`;
    const text = contentText(message['content'], images, videos);
    if (text === undefined) return `message ${i + 1} has content of no kind that is known`;
    turns.push({ role, text });
  }
  return turns;
}

function contentText(content: unknown, images: unknown[], videos: unknown[]): string | undefined {
  if (typeof content === 'string') return content;
  const parts = objectsOf(content).map((part) => {
    const { type, text, value, image, image_url: url } = part;
    if (type === 'text') return isText(text) ? text : isText(value) ? value : '';
    if (type === 'video' || type === 'video_url') {
      const held = part['video'] ?? part['video_url'] ?? value;
      videos.push({ video: isObject(held) ? held['url'] : held, fps: part['fps'] ?? part['sample_fps'] });
      return '<video>';
    }
    if (type !== 'image' && type !== 'image_url' && type !== 'input_image') return undefined;
    images.push(isObject(url) ? url['url'] : (url ?? image ?? value));
    return '<image>';
  });
  return parts.length > 0 && parts.every((part) => part !== undefined) ? parts.join('') : undefined;
}
