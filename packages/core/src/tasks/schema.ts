/** JSON Schema of answers, as far as tasks have use for it. */
export type AnswerSchema =
  | { readonly type: 'string'; readonly enum?: readonly string[] }
  | { readonly type: 'number' | 'integer' }
  | {
      readonly type: 'array';
      readonly items: AnswerSchema;
      readonly minItems?: number;
      readonly maxItems?: number;
    }
  | {
      readonly type: 'object';
      /** In the order in which they are written. */
      readonly properties: Readonly<Record<string, AnswerSchema>>;
      readonly required: readonly string[];
      readonly additionalProperties: false;
    };

const coordinates = (count: number): AnswerSchema => ({
  type: 'array',
  items: { type: 'number' },
  minItems: count,
  maxItems: count,
});

/** A list of things with a box, a point, or both, in the coordinates of the model. */
export const placesSchema = (required: readonly ('bbox_2d' | 'point_2d')[], most: number): AnswerSchema => ({
  type: 'array',
  items: {
    type: 'object',
    properties: {
      ...{ bbox_2d: coordinates(4) },
      ...(required.includes('point_2d') && { point_2d: coordinates(2) }),
    },
    required,
    additionalProperties: false,
  },
  maxItems: most,
});
