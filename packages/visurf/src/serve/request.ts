/** A request for a chat completion: what of OpenAI's form is honoured, and what is refused rather than ignored. */
import { z } from 'zod';
import { Refusal } from './failure.ts';

const textPart = z.object({ type: z.literal('text'), text: z.string() });
const imagePart = z.object({ type: z.literal('image_url'), image_url: z.object({ url: z.string() }) });

const message = z
  .object({
    role: z.enum(['system', 'developer', 'user', 'assistant']),
    content: z.union([z.string(), z.array(z.discriminatedUnion('type', [textPart, imagePart]))]),
  })
  .refine(({ role, content }) => role === 'user' || typeof content === 'string' || content.every(({ type }) => type === 'text'), {
    error: 'images belong to the user',
  }); // prettier-ignore

const format = z.union([
  z.object({ type: z.literal('text') }),
  z.object({
    type: z.literal('json_schema'),
    json_schema: z.object({ name: z.string().optional(), schema: z.record(z.string(), z.unknown()) }),
  }),
  z.object({ type: z.literal('json_object') }),
]);

/** Of what would change the answer and is not done here, the values that change nothing. */
const NEUTRAL: Readonly<Record<string, (value: unknown) => boolean>> = {
  tools: (value) => Array.isArray(value) && value.length === 0,
  functions: (value) => Array.isArray(value) && value.length === 0,
  tool_choice: (value) => value === 'none' || value === 'auto',
  logit_bias: (value) => typeof value === 'object' && Object.keys(value ?? {}).length === 0,
  presence_penalty: (value) => value === 0,
  frequency_penalty: (value) => value === 0,
  modalities: (value) => Array.isArray(value) && value.every((each) => each === 'text'),
  audio: () => false,
  prediction: () => false,
  web_search_options: () => false,
};

const request = z.looseObject({
  model: z.string(),
  messages: z.array(message).min(1),
  max_tokens: z.int().min(1).nullish(),
  max_completion_tokens: z.int().min(1).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  top_k: z.int().min(-1).nullish(),
  repetition_penalty: z.number().gt(0).nullish(),
  n: z.int().min(1).max(64).nullish(),
  seed: z.int().nullish(),
  stop: z.union([z.string().min(1), z.array(z.string().min(1)).max(16)]).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
  response_format: format.nullish(),
});

export type ChatRequest = z.output<typeof request>;
export type ChatMessage = z.output<typeof message>;

/** @throws Refusal that names the field */
export function readRequest(body: unknown): ChatRequest {
  const parsed = request.safeParse(body);
  if (!parsed.success) {
    const issue = deepest(parsed.error.issues[0]!);
    const param = issue.path.join('.');
    throw new Refusal(400, `${param === '' ? 'the request' : param}: ${issue.message}`, param);
  }
  for (const [name, isNeutral] of Object.entries(NEUTRAL)) {
    const value = parsed.data[name];
    if (value !== undefined && value !== null && !isNeutral(value)) {
      throw new Refusal(400, `${name} is not supported by this server`, name);
    }
  }
  const { top_logprobs: top, logprobs, response_format: asked } = parsed.data;
  if (top && !logprobs) throw new Refusal(400, 'top_logprobs needs logprobs', 'top_logprobs');
  if (asked?.type === 'json_object') {
    throw new Refusal(400, 'json_object is not supported: send the json_schema of the answers', 'response_format');
  }
  return parsed.data;
}

type Issue = Pick<z.core.$ZodIssue, 'path' | 'message'>;

/** The issue of the form that a value comes closest to: it says best what is wrong with it. */
function deepest(issue: z.core.$ZodIssue): Issue {
  if (issue.code !== 'invalid_union') return issue;
  const inner = issue.errors.flat().map(deepest);
  const best = inner.reduce<Issue | undefined>((a, b) => (a && a.path.length >= b.path.length ? a : b), undefined);
  return best ? { path: [...issue.path, ...best.path], message: best.message } : issue;
}
