/** What memory goes to. */
export type Part =
  | 'program'
  | 'weights'
  | 'master weights'
  | 'reference model'
  | 'optimiser'
  | 'gradients'
  | 'bfloat16 copies of weights'
  | 'weights packed for decoding'
  | 'pixels'
  | 'remembered images'
  | 'remembered image tokens'
  | 'keys and values'
  | 'recurrent states'
  | 'activations of the vision tower'
  | 'activations of the decoder'
  | 'logits'
  | 'working memory'
  | 'checkpoint file';

/** Bytes. */
export type Parts = Partial<Record<Part, number>>;
