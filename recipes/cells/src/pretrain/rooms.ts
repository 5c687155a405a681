/** The one kind of pictures that the base model learns from, with its lessons. */
import { SIDE, type Corners, type Random } from '@visurf/mini-grounding/kit';
import { exists, imagine, refer, type Lesson, type LessonOptions, type Named, type Room } from '@visurf/mini/kit';

import { drawSmear, type Body, type Smear } from '../smear.ts';
import { KINDS, wordsOf, type Kind } from '../vocabulary.ts';

/** A kind is one word to patches and image tokens. */
const FAMILY = KINDS.map((kind) => ` ${kind}`);
export const SIGHT_WORDS: readonly string[] = FAMILY;

const named = ({ kind, box, center }: Body): Named => ({ words: wordsOf(kind), box, center });

function nameless(box: Corners): Named {
  const center = [Math.floor((box[0] + box[2]) / 2), Math.floor((box[1] + box[3]) / 2)] as const;
  return { words: [], box, center };
}

/** A box of a platelet's size, anywhere. */
function anywhere(random: Random): Corners {
  const side = random.integer(22, 34);
  const [x, y] = [random.integer(0, SIDE - side), random.integer(0, SIDE - side)];
  return [x, y, x + side, y + side];
}

/** Finding a kind that is there once, imagining platelets where there are none, and whether kinds exist. */
function lessonsOf({ bodies, alike }: Smear, random: Random, options: LessonOptions): Lesson[] {
  const ofKind = (kind: Kind): Body[] => bodies.filter((body) => body.kind === kind);
  const once = KINDS.flatMap((kind) => {
    const [only, ...others] = ofKind(kind);
    return only && others.length === 0 ? [only] : [];
  });
  const finding = once.flatMap((body) =>
    Array.from({ length: body.kind === 'platelet' ? 2 : 1 }, () => refer(named(body), random, options)),
  );
  const asked: Kind[] = ['platelet', random.pick(['red', 'white'] as const)];
  const asking = asked.map((kind) =>
    exists(
      wordsOf(kind),
      ofKind(kind).map(({ box }) => box),
      random,
    ),
  );
  if (!options.imagine || ofKind('platelet').length > 0) return [...finding, ...asking];
  const likely = alike.length > 0 ? random.pick(alike) : anywhere(random);
  return [...finding, ...asking, imagine(wordsOf('platelet'), nameless(likely), random, options)];
}

export const ROOMS = {
  smears: {
    families: [FAMILY],
    draw(random, options) {
      const smear = drawSmear(random);
      const things = smear.bodies.map(({ kind, box }) => ({ words: [` ${kind}`], box }));
      return { pixels: smear.pixels, things, lessons: lessonsOf(smear, random, options) };
    },
  },
} as const satisfies Record<string, Room>;
