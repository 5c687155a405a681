/** Pointwise operators that differ by name only, and the types of the methods made from them. */
import { op } from './native.ts';

const pair = (name: string): { tensor: number; scalar: number } => ({
  tensor: op(`${name}.Tensor`),
  scalar: op(`${name}.Scalar`),
});

export const unary = {
  neg: op('neg'),
  abs: op('abs'),
  exp: op('exp'),
  log: op('log'),
  sqrt: op('sqrt'),
  rsqrt: op('rsqrt'),
  square: op('square'),
  sin: op('sin'),
  cos: op('cos'),
  tanh: op('tanh'),
  sigmoid: op('sigmoid'),
  silu: op('silu'),
  relu: op('relu'),
  round: op('round'),
  logicalNot: op('logical_not'),
};

export const binary = {
  add: pair('add'),
  sub: pair('sub'),
  mul: pair('mul'),
  div: pair('div'),
};
export const compare = {
  eq: pair('eq'),
  ne: pair('ne'),
  lt: pair('lt'),
  le: pair('le'),
  gt: pair('gt'),
  ge: pair('ge'),
};
export const binaryInPlace = {
  add_: pair('add_'),
  sub_: pair('sub_'),
  mul_: pair('mul_'),
  div_: pair('div_'),
};

type Unary<T> = Record<keyof typeof unary, () => T>;
type Binary<T> = Record<keyof typeof binary | keyof typeof compare, (other: T | number) => T>;
/** `alpha` multiplies `other` and is for add_ and sub_ only. */
type InPlace<T> = Record<keyof typeof binaryInPlace, (other: T | number, alpha?: number) => T>;

export type Pointwise<T> = Unary<T> & Binary<T> & InPlace<T>;
