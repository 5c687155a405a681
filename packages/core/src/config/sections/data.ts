/** Keys of the data, and of how a sample becomes a prompt. */
import { z } from 'zod';
import { key } from '../facts.ts';
import { positive, count } from './kinds.ts';

/** One of several sets that training draws from. */
const trainingSet = z.union([z.string(), z.strictObject({ file: z.string(), weight: positive.max(1e9).default(1) })]);

export const data = z.strictObject({
  train: key(
    'training samples: JSONL, a file or folder of another format, or a data set of the hub, `owner/name` or ' +
      '`owner/name@revision` ([data.md](data.md)); or a list of them, of names or `{file, weight}`: weights are shares of ' +
      'the prompts drawn',
    z.union([z.string(), z.array(trainingSet).min(1)]),
    { path: 'data', effect: 'breaks' },
  ),
  split: key(
    'the part of training sets that is read, of those whose files or folders name parts',
    z.string().optional(),
    {
      effect: 'breaks',
      unset: 'all; of a set on the hub `train`',
    },
  ),
  validation: key(
    'held-out samples, for evaluation during training; `10%`: of the training samples',
    z.string().optional(),
    {
      path: 'data',
    },
  ),
  corrections: key(
    'a file of lines `{id, action: accept | drop}` or `{id, action: fix, solution}` about training samples, which may grow ' +
      'while training runs ([data.md](data.md))',
    z.string().optional(),
    { path: 'file', unset: 'none' },
  ),
  format: key('name of their format; `auto`: found out', z.string().default('auto')),
  boxes: key(
    'how boxes of another format are written: `xyxy`, `xywh` or `cxcywh`',
    z.enum(['xyxy', 'xywh', 'cxcywh']).optional(),
    {
      unset: 'found out',
    },
  ),
  units: key(
    'what their numbers are: `pixels`, shares of the picture (`unit`), `thousandths`, `percent`, pixels of a scaled picture (`resized`)',
    z.enum(['pixels', 'unit', 'thousandths', 'percent', 'resized']).optional(),
    { unset: 'found out' },
  ),
  allowOutside: key(
    'images may lie outside of the folder of their data file, also by links',
    z.boolean().default(false),
    { effect: 'harmless' },
  ),
  maxImagePixels: key('width times height of an image file; larger ones are refused', count.default(100_000_000), {
    effect: 'harmless',
  }),
  task: key('how answers are read, written and rewarded ([tasks.md](tasks.md))', z.string().default('grounding')),
  prompt: key('template of the user turn: text with `{Question}`, or a file that holds it', z.string().optional(), {
    path: 'template',
    unset: "the task's",
  }),
  system: key('system turn', z.string().optional(), { unset: "the chat template's" }),
  maxPromptTokens: key('a sample with a longer prompt is refused', count.default(4096)),
  maxPixels: key('area in pixels that an image is scaled down to', count.optional(), { unset: "the model's" }),
  minPixels: key('area in pixels that an image is scaled up to', count.optional(), { unset: "the model's" }),
  think: key(
    'whether prompts open a thought, where the chat template can (`enable_thinking`)',
    z.boolean().optional(),
    {
      unset: "the chat template's",
    },
  ),
});
