/** The shape of a checkpoint and its family, read from Hugging Face's `config.json`. */
import { join } from 'node:path';

import { z } from 'zod';

import { foreignPath, hasCode, missingFile, UserError } from '../errors.ts';
import { readText } from '../regular.ts';
import type { ModelConfig } from '../model/config.ts';
import { familyOf } from './index.ts';

/** @throws UserError when the value describes no model of a supported family. */
export function parseModelConfig(value: unknown): ModelConfig {
  const family = familyOf((value as { model_type?: unknown } | null)?.model_type);
  return { family, ...family.readConfig(value) };
}

/** Reads `config.json` of a model directory. @throws UserError naming the file. */
export function loadModelConfig(directory: string): ModelConfig {
  const file = join(directory, 'config.json');
  try {
    return parseModelConfig(JSON.parse(readText(file)));
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) {
      if (foreignPath(directory)) throw missingFile(directory, 'no such directory');
      throw new UserError(`${directory} is no model directory: config.json is missing`, {
        where: file,
        remedy: 'give a directory in Hugging Face layout (config.json, tokenizer.json, *.safetensors)',
      });
    }
    if (error instanceof UserError) throw new UserError(error.reason, { where: file, remedy: error.remedy });
    if (error instanceof z.ZodError) throw new UserError(z.prettifyError(error), { where: file });
    if (error instanceof SyntaxError) throw new UserError(`not valid JSON: ${error.message}`, { where: file });
    throw error;
  }
}
