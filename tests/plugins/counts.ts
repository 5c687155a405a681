import { readFile } from 'node:fs/promises';
import { defineReader } from 'visurf';

/** Lines such as `street.png: 3 cars`. */
export default defineReader({
  name: 'counts',
  knows: ({ extension }) => extension === 'counts',
  async *read({ files }, { images }) {
    for (const file of files) {
      const lines = (await readFile(file, 'utf8')).trimEnd().split('\n');
      for (const [i, line] of lines.entries()) {
        const place = { file, record: i + 1 };
        const [, image, number, problem] = /^(.+): (\d+) (.+)$/.exec(line) ?? [];
        if (image === undefined) yield { kind: 'fault', place, message: 'not of the form IMAGE: NUMBER WHAT' };
        else {
          const fields = { problem, solution: Number(number), task: 'count' };
          yield { kind: 'question', place, images: [images.find(image, file)], fields, convention: {} };
        }
      }
    }
  },
});
