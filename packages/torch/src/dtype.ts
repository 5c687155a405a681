/** Element types, by PyTorch's names and with its numbers (c10::ScalarType). */
export type DType =
  'uint8' | 'int8' | 'int16' | 'int32' | 'int64' | 'float16' | 'float32' | 'float64' | 'bool' | 'bfloat16';
export type FloatDType = 'float16' | 'float32' | 'float64' | 'bfloat16';

const codes: Readonly<Record<DType, number>> = {
  uint8: 0,
  int8: 1,
  int16: 2,
  int32: 3,
  int64: 4,
  float16: 5,
  float32: 6,
  float64: 7,
  bool: 11,
  bfloat16: 15,
};

const names = new Map(Object.entries(codes).map(([name, code]) => [code, name as DType]));

/** Bytes of one element. */
export const itemSize: Readonly<Record<DType, number>> = {
  uint8: 1,
  int8: 1,
  int16: 2,
  int32: 4,
  int64: 8,
  float16: 2,
  float32: 4,
  float64: 8,
  bool: 1,
  bfloat16: 2,
};

export const isFloat = (dtype: DType): dtype is FloatDType => dtype.includes('float');

export const dtypeCode = (dtype: DType): number => codes[dtype];

export function dtypeOf(code: number): DType {
  const dtype = names.get(code);
  if (dtype === undefined) throw new TypeError(`tensors of ScalarType ${code} are not supported`);
  return dtype;
}

/** The typed array that holds elements of a dtype; float16 and bfloat16 as their bits in uint16, bool as bytes. */
export const arrayTypes = {
  uint8: Uint8Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  float16: Uint16Array,
  float32: Float32Array,
  float64: Float64Array,
  bool: Uint8Array,
  bfloat16: Uint16Array,
} as const satisfies Record<DType, unknown>;

export type TypedArray =
  Uint8Array | Int8Array | Int16Array | Uint16Array | Int32Array | BigInt64Array | Float32Array | Float64Array;

/** The dtype that a typed array holds unless one is given. Uint16Array is ambiguous (float16, bfloat16) and has none. */
export function dtypeOfArray(array: TypedArray): DType {
  if (array instanceof Float32Array) return 'float32';
  if (array instanceof Float64Array) return 'float64';
  if (array instanceof BigInt64Array) return 'int64';
  if (array instanceof Int32Array) return 'int32';
  if (array instanceof Uint8Array) return 'uint8';
  if (array instanceof Int8Array) return 'int8';
  if (array instanceof Int16Array) return 'int16';
  throw new TypeError('a Uint16Array needs a dtype: float16 or bfloat16');
}
