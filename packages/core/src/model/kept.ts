/** Elements per row (token or patch) that a block keeps for its gradient. */
export interface Kept {
  /** Elements in the stream's dtype. */
  readonly stream: number;
  /** Elements of attention and the like, which are in the dtype of weights that are no matrices. */
  readonly attention: number;
  /** Elements in the dtype of products. */
  readonly products: number;
}

/** Of a layer with a recurrent state. */
export interface KeptByState extends Kept {
  /** Elements of the state of a sequence, in the dtype of attention. */
  readonly state: number;
  /** Elements per token that are there while its gradient is computed; without a gradient it is half as much. */
  readonly working: number;
}
