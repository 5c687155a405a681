/** Elements per row (token or patch) that a block keeps for its gradient. */
export interface Kept {
  /** In the stream's dtype. */
  readonly stream: number;
  /** In the dtype of products. */
  readonly products: number;
}
