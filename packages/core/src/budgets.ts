/** Limits on what is in memory at once. The plan of a run counts with them. */

/** Elements of one chunk of logits [rows, vocabulary]: 64 MB in float32. */
export const chunkElements = 1 << 24;
/** Bytes of image tokens that a frozen vision tower is asked for again in every phase and epoch. */
export const featureBytes = 1 << 30;
/** Bytes of resized images that are kept. */
export const imageBytes = 256 << 20;
/** Prompts that an evaluation answers at once. */
export const evaluatedTogether = 50;

/** Tokens that a rollout's cache has room for: vectors of the kernel that reads it are full. */
export const cacheCapacity = (tokens: number): number => Math.ceil(tokens / 16) * 16;
