/** What the server answers, by its own types. */
import type { Curve } from '../../src/answers.ts';

export type * from '../../src/answers.ts';
export type Curves = Readonly<Record<string, Curve>>;
