/** The shape of a checkpoint, and the family it belongs to. */
import type { Family } from './family.ts';
import type { TextConfig } from './text-config.ts';
import type { VisionConfig } from './vision-config.ts';

export type { TextConfig } from './text-config.ts';
export type { VisionConfig } from './vision-config.ts';

export interface ModelShape {
  readonly vision: VisionConfig;
  readonly text: TextConfig;
  readonly imageTokenId: number;
  /** Undefined where the family knows no videos. */
  readonly videoTokenId: number | undefined;
}

export interface ModelConfig extends ModelShape {
  readonly family: Family;
}
