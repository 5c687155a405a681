/** What is asked: a conversation in Hugging Face's form, or a question and its images, which becomes one. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { z } from 'zod';
import { fileError, UserError } from '../errors.ts';
import { readText } from '../regular.ts';
import type { Clip } from '../types.ts';
import { placeVisuals } from './places.ts';
import { messagesSchema, type ImageSource, type Message, type Part } from './template.ts';

/** A question as datasets have it. */
export interface Asked<Image> {
  readonly problem: string;
  readonly images: readonly Image[];
  readonly videos?: readonly Clip[] | undefined;
  readonly system?: string | undefined;
  /** Images and videos stand where the problem has `<image>` and `<video>`, as datasets write it; otherwise that is text. */
  readonly places?: boolean;
}

/** A conversation, or a question: images first, then the text. Image paths are absolute or relative to the process. */
export type PromptInput = { readonly messages: readonly Message[] } | Asked<ImageSource>;

/**
 * Reads messages in Hugging Face's form from a JSON file; image paths are relative to the file.
 * @throws UserError
 */
export function readMessages(file: string): Message[] {
  let value: unknown;
  try {
    value = JSON.parse(readText(file));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw fileError(error, { where: file });
    throw new UserError(`malformed JSON: ${error.message.replaceAll('\n', ' ')}`, { where: file });
  }
  const parsed = messagesSchema.safeParse(value);
  if (!parsed.success) {
    const { path: place, message } = deepest(parsed.error.issues[0]!);
    throw new UserError(`${place.length > 0 ? `${place.join('.')}: ` : ''}${message}`, {
      where: file,
      remedy:
        'Expected [{"role": "user", "content": [{"type": "image", "image": PATH}, {"type": "text", "text": TEXT}]}].',
    });
  }
  const folder = path.dirname(path.resolve(file));
  const locate = (name: string): string => {
    if (/^(https?|data):/.test(name)) {
      throw new UserError(`${name.slice(0, 60)} is no file`, {
        where: file,
        remedy: 'Save the image to a file first.',
      });
    }
    return path.resolve(folder, name.startsWith('file://') ? fileURLToPath(name) : name);
  };
  return parsed.data.map(({ role, content }) => ({
    role,
    content: typeof content === 'string' ? content : content.map((part) => located(part, locate)),
  }));
}

type Issue = Pick<z.core.$ZodIssue, 'path' | 'message'>;

/** The issue of the form that a value comes closest to: it says best what is wrong with it. */
function deepest(issue: z.core.$ZodIssue): Issue {
  if (issue.code !== 'invalid_union') return issue;
  const inner = issue.errors.flat().map(deepest);
  const best = inner.reduce<Issue | undefined>((a, b) => (a && a.path.length >= b.path.length ? a : b), undefined);
  return best ? { path: [...issue.path, ...best.path], message: best.message } : issue;
}

function located(part: Part, locate: (name: string) => string): Part {
  if (part.type === 'image' && typeof part.image === 'string') return { ...part, image: locate(part.image) };
  if (part.type === 'video') return { ...part, video: part.video.map(locate) };
  return part;
}

/** The messages that ask a question. @param where names the sample in messages of errors */
export function conversation(
  { problem, images, videos = [], system, places }: Asked<ImageSource>,
  where: string | undefined,
): Message[] {
  const shown = [
    ...images.map((image): Part => ({ type: 'image', image })),
    ...videos.map((clip): Part => ({ type: 'video', ...clip })),
  ];
  const content: Part[] = places
    ? placeVisuals(problem, images, videos, where)
    : [...shown, { type: 'text', text: problem }];
  const user: Message = { role: 'user', content };
  return system === undefined ? [user] : [{ role: 'system', content: system }, user];
}
