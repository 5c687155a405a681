import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Utterance } from './utterance.ts';

const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 0, maxLength: 30 });
const stops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 4 }), {
  maxLength: 3,
});

test('an answer ends before the first stop string, and nothing is shown that is taken back', () => {
  fc.assert(
    fc.property(letters, stops, (text, all) => {
      let shown = '';
      const tokens = Array.from(text, (letter) => letter.codePointAt(0)!);
      const utterance = new Utterance((ids) => String.fromCodePoint(...ids), all, (piece) => (shown += piece.text)); // prettier-ignore
      const end = tokens.findIndex((token) => utterance.push({ token, logProb: 0, others: [] }, false));
      utterance.end();
      const found = all.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
      // The stop string that is whole first, at its first place.
      const whole = all.flatMap((stop) => (text.includes(stop) ? [text.indexOf(stop) + stop.length] : []));
      expect(utterance.isStopped).toBe(found.length > 0);
      expect(end).toBe(found.length > 0 ? Math.min(...whole) - 1 : -1);
      expect(shown).toBe(utterance.text);
      expect(text.startsWith(shown)).toBe(true);
      if (found.length === 0) expect(shown).toBe(text);
      for (const stop of all) expect(shown).not.toContain(stop);
    }),
  );
});
