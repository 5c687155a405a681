/** Pascal VOC: an XML file for every image; `difficult` and `truncated`; splits in `ImageSets/Main`. */
import path from 'node:path';
import { UserError } from '../../errors.ts';
import { readText } from '../../regular.ts';
import { fault, fourNumbers, isText, sizeOf, type Item, type LabelledBox } from './record.ts';
import type { ReadContext, Reader } from './reader.ts';
import { isOfSplit, readXml, splitsIn, type Source } from './source.ts';
import { childrenOf, textAt } from './xml.ts';

export const voc: Reader = {
  name: 'voc',
  knows: ({ extension, head }) => extension === 'xml' && /<annotation[\s>]/.test(head) && !head.includes('<polygon'),
  async *read(source, context) {
    const files = source.files.filter((file) => file.toLowerCase().endsWith('.xml'));
    for (const file of ofSplit(source, files)) yield await imageOf(file, context);
  },
};

/** XML files of a split: as its list says, else as folders are named. */
function ofSplit(source: Source, files: readonly string[]): readonly string[] {
  const { split, root } = source;
  if (split === undefined) return files;
  const lists = source.files.filter((file) => /ImageSets\/Main\/[^/_]+\.txt$/.test(file.replaceAll('\\', '/')));
  const list =
    lists.find((file) => path.basename(file, '.txt') === split) ??
    lists.find((file) => isOfSplit(path.basename(file, '.txt'), split));
  if (list !== undefined) {
    const names = new Set(readText(list).split(/\s+/));
    return files.filter((file) => names.has(path.basename(file, path.extname(file))));
  }
  if (splitsIn(files, root).length === 0) {
    throw new UserError(`no split ${split}: neither ImageSets/Main nor folders name splits`, { where: source.path });
  }
  return files.filter((file) => isOfSplit(path.relative(root, path.dirname(file)), split));
}

async function imageOf(file: string, context: ReadContext): Promise<Item> {
  const place = { file, record: 1 };
  const annotation = await readXml(file);
  if (annotation.name !== 'annotation') return fault(place, 'no VOC file: it has no <annotation>');
  const name = textAt(annotation, 'filename');
  const objects: LabelledBox[] = [];
  const unsure: string[] = [];
  for (const [i, object] of childrenOf(annotation, 'object').entries()) {
    const label = textAt(object, 'name');
    if (!isText(label)) return fault(place, `object ${i + 1} has no name`);
    const box = ['xmin', 'ymin', 'xmax', 'ymax'].map((side) => textAt(object, 'bndbox', side));
    const numbers = fourNumbers(box);
    if (textAt(object, 'difficult') === '1' || box.every((side) => side === undefined)) unsure.push(label);
    else if (!numbers) return fault(place, `object ${i + 1} (${label}): its bndbox is not four numbers`);
    else objects.push({ label, numbers, convention: { form: 'xyxy' } });
  }
  const frame = sizeOf(textAt(annotation, 'size', 'width'), textAt(annotation, 'size', 'height'));
  const image = context.images.findAny([name, path.basename(file, path.extname(file))], file);
  return { kind: 'image', place, image, frame, objects, unsure };
}
