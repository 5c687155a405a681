/** Elements per row (token or patch) that a block keeps for its gradient. */
export interface Kept {
  /** Elements in the stream's dtype. */
  readonly stream: number;
  /** Elements in the dtype of products. */
  readonly products: number;
}
