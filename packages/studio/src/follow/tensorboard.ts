/**
 * TensorBoard's event files, written by hand: records of TFRecord framing (length, masked CRC32C of it, data, masked CRC32C of
 * that) that hold `tensorflow.Event` messages. Fields are those of tensorflow/core/util/event.proto and
 * tensorflow/core/framework/summary.proto.
 */
import { appendFileSync, mkdirSync } from 'node:fs';
import path from 'node:path';

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc >>> 0;
});

function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (TABLE[(crc ^ byte) & 255]! ^ (crc >>> 8)) >>> 0;
  return (crc ^ 0xffffffff) >>> 0;
}

const masked = (crc: number): number => (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;

function record(data: Uint8Array): Buffer {
  const header = Buffer.alloc(12);
  header.writeBigUInt64LE(BigInt(data.length));
  header.writeUInt32LE(masked(crc32c(header.subarray(0, 8))), 8);
  const footer = Buffer.alloc(4);
  footer.writeUInt32LE(masked(crc32c(data)));
  return Buffer.concat([header, data, footer]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let left = BigInt(value);
  do {
    const low = Number(left & 127n);
    left >>= 7n;
    bytes.push(left > 0n ? low | 128 : low);
  } while (left > 0n);
  return Buffer.from(bytes);
}

/** Wire types 0 (whole number), 1 (double), 2 (bytes), 5 (float). */
const whole = (field: number, value: number): Buffer => Buffer.concat([varint(field << 3), varint(value)]);
const bytes = (field: number, value: Uint8Array): Buffer =>
  Buffer.concat([varint((field << 3) | 2), varint(value.length), value]);
const text = (field: number, value: string): Buffer => bytes(field, Buffer.from(value));

function double(field: number, value: number): Buffer {
  const data = Buffer.alloc(8);
  data.writeDoubleLE(value);
  return Buffer.concat([varint((field << 3) | 1), data]);
}

function float(field: number, value: number): Buffer {
  const data = Buffer.alloc(4);
  data.writeFloatLE(value);
  return Buffer.concat([varint((field << 3) | 5), data]);
}

export interface Picture {
  readonly width: number;
  readonly height: number;
  /** PNG. */
  readonly png: Uint8Array;
}

/** One file of events, which grows. */
export class EventFile {
  readonly path: string;

  /** @param time in milliseconds since 1970, of the file's beginning */
  constructor(folder: string, time: number) {
    mkdirSync(folder, { recursive: true });
    this.path = path.join(folder, `events.out.tfevents.${String(Math.floor(time / 1000)).padStart(10, '0')}.visurf`);
    appendFileSync(this.path, '');
  }

  begin(time: number): void {
    // Event: wall_time = 1, file_version = 3.
    this.#append(Buffer.concat([double(1, time / 1000), text(3, 'brain.Event:2')]));
  }

  scalars(step: number, time: number, values: Readonly<Record<string, number>>): void {
    // Summary.Value: tag = 1, simple_value = 2.
    this.#summary(
      step,
      time,
      Object.entries(values).map(([tag, value]) => Buffer.concat([text(1, tag), float(2, value)])),
    );
  }

  picture(step: number, time: number, tag: string, { width, height, png }: Picture): void {
    // Summary.Image: height = 1, width = 2, colorspace = 3, encoded_image_string = 4; Summary.Value: image = 4.
    const image = Buffer.concat([whole(1, height), whole(2, width), whole(3, 3), bytes(4, png)]);
    this.#summary(step, time, [Buffer.concat([text(1, tag), bytes(4, image)])]);
  }

  #summary(step: number, time: number, values: readonly Buffer[]): void {
    // Event: step = 2, summary = 5; Summary: value = 1.
    const summary = Buffer.concat(values.map((value) => bytes(1, value)));
    this.#append(Buffer.concat([double(1, time / 1000), whole(2, step), bytes(5, summary)]));
  }

  #append(event: Uint8Array): void {
    appendFileSync(this.path, record(event));
  }
}
