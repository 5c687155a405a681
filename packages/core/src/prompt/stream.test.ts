import fc from 'fast-check';
import { expect, test } from 'vitest';

import { tinyModel } from '../testing/oracle.ts';
import { TextStream } from './stream.ts';
import { Tokenizer } from './tokenizer.ts';

const tokenizer = Tokenizer.load(tinyModel);
const stream = (): TextStream => new TextStream((tokens) => tokenizer.decode(tokens));
/** The token of one byte. */
const byte = (value: number): number => {
  const printable = (value > 32 && value < 127) || (value > 160 && value !== 173);
  const others = Array.from({ length: value }, (_, b) => b).filter(
    (b) => b <= 32 || (b >= 127 && b <= 160) || b === 173,
  );
  return tokenizer.idOf(String.fromCodePoint(printable ? value : 256 + others.length))!;
};

test('a character comes whole, with the last of its tokens', () => {
  const pieces = stream();
  const tokens = [...Buffer.from('é語🙂!')].map(byte);
  expect(tokens).not.toContain(undefined);
  expect(tokens.map((token) => pieces.push(token))).toEqual(['', 'é', '', '', '語', '', '', '', '🙂', '!']);
  expect(pieces.end()).toBe('');
});

test('bytes that are no character are shown when it is certain that they are none', () => {
  const pieces = stream();
  expect([0xe8, 0xaa, 0x41].map((value) => pieces.push(byte(value)))).toEqual(['', '', '\ufffdA']);
  expect([pieces.push(byte(0xf0)), pieces.end(), pieces.end()]).toEqual(['', '\ufffd', '']);
});

test('special tokens say nothing', () => {
  const pieces = stream();
  const [first, second] = [...Buffer.from('é')].map(byte);
  expect(pieces.push(first!)).toBe('');
  expect(pieces.push(tokenizer.eosId)).toBe('');
  expect(pieces.push(second!)).toBe('é');
});

test('the pieces are the text of all tokens, whichever they are', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(351), { maxLength: 30 }), (tokens) => {
      const pieces = stream();
      const said = tokens.map((token) => pieces.push(token)).join('') + pieces.end();
      expect(said).toBe(tokenizer.decode(tokens));
    }),
  );
});
