/** `config.json` of Qwen3.5: `text_config` with two kinds of layers, and a `vision_config` without DeepStack. */
import { z } from 'zod';

import { deepVisionFields, readDeepVision } from '../../model/deep-vision-config.ts';
import type { TextRules } from '../../model/text-config.ts';

export const textRules: TextRules = {
  ...{ hiddenSize: 4096, layers: 32, heads: 16, keyValueHeads: 4, intermediateSize: 12288, vocabularySize: 248320 },
  ...{ headSize: 256, rmsNormEps: 1e-6, length: 32768, ropeTheta: undefined, mropeSection: [11, 11, 10] },
  ...{ mropeInterleaved: true, attentionBias: 'stated', queryKeyNorm: true, rotaryShare: 0.25 },
  recurrent: { keyHeads: 16, valueHeads: 32, keySize: 128, valueSize: 128, taps: 4, fullEvery: 4 },
};

export const visionSchema = z.looseObject(deepVisionFields).transform((file) => readDeepVision(file, []));
