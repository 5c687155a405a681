/** What readers of every format yield, one record at a time, each with its place. */
import type { Finding } from '../findings.ts';

export interface Place {
  readonly file: string;
  /** The line of a file of lines, else the number of the record in its file; from 1. */
  readonly record: number;
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

export type Numbers = readonly [number, number, number, number];

export const BOX_FORMS = ['xyxy', 'xywh', 'cxcywh'] as const;
/** Corners; corner, width and height; centre, width and height. */
export type BoxForm = (typeof BOX_FORMS)[number];

export const UNITS = ['pixels', 'unit', 'thousandths', 'percent', 'resized'] as const;
/** `unit`: shares of the picture, 0..1; `resized`: pixels of the picture as it was scaled for a model or a tool. */
export type Units = (typeof UNITS)[number];

/** How the numbers of boxes are meant; what is left out is looked for in the numbers. */
export interface Convention {
  readonly form?: BoxForm | undefined;
  readonly units?: Units | undefined;
  /** The format leaves no choice: what the user says of boxes does not reach it. */
  readonly fixed?: boolean;
}

export interface LabelledBox {
  readonly label: string;
  readonly numbers: Numbers;
  readonly convention: Convention;
  /** What it covers, in the frame of the set. */
  readonly mask?: readonly MaskPart[] | undefined;
}

/** A polygon (x, y, x, y, ..), or COCO's run lengths. */
export type MaskPart =
  readonly number[] | { readonly size: readonly number[]; readonly counts: string | readonly number[] };

/** An image of a detection set, with all objects that were marked in it. */
export interface AnnotatedImage {
  readonly kind: 'image';
  readonly place: Place;
  /** Absolute. */
  readonly image: string;
  /** The frame that the set names for the boxes. */
  readonly frame?: Size | undefined;
  readonly objects: readonly LabelledBox[];
  /** Classes that may be there beyond the boxes: marked as crowd or difficult, or without a usable box. */
  readonly unsure: readonly string[];
}

/** A question with its answer, in the fields of our JSONL; images are absolute paths. */
export interface AskedQuestion {
  readonly kind: 'question';
  readonly place: Place;
  readonly images: readonly string[];
  readonly fields: Readonly<Record<string, unknown>>;
  readonly frame?: Size | undefined;
  readonly convention: Convention;
}

/** A record that is none. */
export interface Fault {
  readonly kind: 'fault';
  readonly place: Place;
  readonly message: string;
  /** `image`: the record is well, its picture is not. */
  readonly about?: 'image';
}

export type Item = AnnotatedImage | AskedQuestion | Fault;

/** A line of our JSONL as an object, its images absolute. */
export interface Row {
  readonly place: Place;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** How a source was read, beside its rows. */
export interface RowsRead {
  readonly format: string;
  readonly findings: readonly Finding[];
  /** Folders in which images were found. */
  readonly folders: readonly string[];
  readonly notes: readonly string[];
}

export const fault = (place: Place, message: string): Fault => ({ kind: 'fault', place, message });

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const isText = (value: unknown): value is string => typeof value === 'string' && value.trim() !== '';

/** Objects of a list, whatever else stands in it. */
export const objectsOf = (value: unknown): Record<string, unknown>[] =>
  Array.isArray(value) ? (value as unknown[]).filter(isObject) : [];

/** Four finite numbers, also where they are written as texts. */
export function fourNumbers(values: readonly unknown[]): Numbers | undefined {
  const numbers = values.map((value) => (isText(value) ? Number(value) : value));
  const whole = numbers.length === 4 && numbers.every((each) => Number.isFinite(each));
  return whole ? (numbers as unknown as Numbers) : undefined;
}

/** A frame of two sides that a set may well have left at 0. */
export function sizeOf(width: unknown, height: unknown): Size | undefined {
  const [w, h] = [Number(width), Number(height)];
  return w > 0 && h > 0 && Number.isFinite(w * h) ? { width: w, height: h } : undefined;
}
