/** Limits on what is in memory at once. The plan of a run counts with them. */

/** Elements of one chunk of logits [rows, vocabulary]: 64 MB in float32. */
const smallChunk = 1 << 24;
/** On a card, whose kernels want more rows, and which waits for the processor between chunks. */
const largeChunk = 1 << 28;

/**
 * Elements of one chunk of logits where so many bytes are free: what is made of them takes a quarter at most. Powers of
 * two, so that sums are cut alike from step to step.
 * @param free undefined: the memory is the host's, whose caches hold small chunks
 */
export function chunkElements(free?: number): number {
  let elements = smallChunk;
  while (free !== undefined && elements < largeChunk && 2 * elements * chunkBytes <= free / 4) elements *= 2;
  return elements;
}
/** Per element: logits in bfloat16 and float32, their softmax, its derivative in both. */
const chunkBytes = 16;
/**
 * Bytes for weights in four bits as numbers while tokens are decoded: half of what is free beside the room that caches
 * need once more, when rows have ended.
 */
export const unpackedRoom = (free: number, caches: number): number => Math.max(0, free - caches) / 2;
/** Bytes of image tokens that a frozen vision tower is asked for again in every phase and epoch. */
export const featureBytes = 1 << 30;
/** Bytes of resized images that are kept. */
export const imageBytes = 256 << 20;
/** Prompts that an evaluation answers at once. */
export const evaluatedTogether = 50;

/** Tokens that a rollout's cache has room for: vectors of the kernel that reads it are full. */
export const cacheCapacity = (tokens: number): number => Math.ceil(tokens / 16) * 16;
