/** Which paradigm fits what a base does with the data, and why. */
import type { Paradigm } from '../schedule/paradigm.ts';
import type { Probe } from './probe.ts';
import type { Survey } from './survey.ts';

/** Which paradigm, and why. */
export interface Advice {
  readonly paradigm: Extract<Paradigm, 'visurf' | 'rlvr' | 'sft' | 'sft-then-rlvr'>;
  /** Sentences: what was seen, and what follows. */
  readonly why: string;
  /** What may go wrong all the same. */
  readonly warnings: readonly string[];
}

/** Share of questions that some of 8 answers get right, from which rewards alone teach; and below which they teach nothing. */
const KNOWN = 0.9;
const NEVER = 0.1;
/** Share of answers that can be read below which rollouts earn next to nothing. */
const READABLE = 0.2;
/**
 * Accuracy of the probe below which the label of one kind takes the other kind over, and from which it does not. With a
 * probe at .62, .75 and .90 ViSurf recognised 36, 55 and 86% of absent objects (two-core miniature).
 */
const BLIND = 0.65;
const CLEAR = 0.8;
/** Share of boxes narrower than half a token of the image that is worth a word. */
const TINY = 0.2;

const percent = (share: number): string => `${Math.round(100 * share)}%`;

export function advise(found: Survey, probed: Probe | undefined): Advice {
  const warnings = [...ofBoxes(found), ...ofEmpty(found)];
  if (!probed) {
    const why =
      'The base was not asked. ViSurf learns from the label where the base fails and from its own answers where it succeeds';
    return { paradigm: 'visurf', why, warnings };
  }
  const { all, wellFormed, separation, kinds } = probed;
  const reached = `${percent(all.reached)} of the questions are answered rightly in one of ${probed.answers} tries`;
  const lost = Object.entries(kinds).filter(([, kind]) => kind.reached < NEVER);
  if (separation && separation.accuracy < CLEAR && separation.accuracy >= BLIND)
    warnings.push(separationWarning(separation.accuracy, separation.error));
  if (all.right >= 0.95) {
    warnings.push(`the base is right in ${percent(all.right)} of its answers already: there is little to learn here`);
  }
  if (wellFormed < READABLE) {
    const why =
      `Only ${percent(wellFormed)} of the base's answers can be read: rollouts earn next to nothing, and labels would ` +
      'win every group. Supervised steps teach the form first, then rewards take over';
    return { paradigm: 'sft-then-rlvr', why, warnings };
  }
  if (separation && separation.accuracy < BLIND) {
    const why =
      `At the end of a prompt the base does not know whether what is asked for is there (a probe is right in ` +
      `${percent(separation.accuracy)}, chance is 50%): the label [] would rise for every question, and ViSurf would end ` +
      'in answering [] always. Supervised steps on both kinds teach to see it first; then run init again from that checkpoint';
    return { paradigm: 'sft', why, warnings };
  }
  if (all.reached < NEVER) {
    const why =
      `Only ${reached}: labels would win nearly every group, and the base would stop to think. Supervised steps teach the ` +
      'task first; then run init again from that checkpoint, and ViSurf goes on from there';
    return { paradigm: 'sft', why, warnings };
  }
  if (lost.length > 0 && lost.length < Object.keys(kinds).length) {
    const names = lost
      .map(([kind]) => (kind === 'absent' ? 'that nothing matches ([])' : `a ${kind} object`))
      .join(', ');
    const why = `${reached}, but the base never says ${names}: rewards alone cannot teach what is never tried. ViSurf takes it from the label`;
    return { paradigm: 'visurf', why, warnings };
  }
  if (all.reached >= KNOWN) {
    const why = `${reached}: rewards alone can find all of it, without labels that pull the answers their way`;
    return { paradigm: 'rlvr', why, warnings };
  }
  const why = `${reached}: labels teach the others, and its own answers keep their thoughts where they are right`;
  return { paradigm: 'visurf', why, warnings };
}

const separationWarning = (accuracy: number, error: number): string =>
  `a linear probe of the state after the prompt tells present from absent in ${percent(accuracy)} +- ${percent(error)} of ` +
  'new pictures (chance: 50%): labels of absent objects may take present ones over. Watch falseEmpty; larger pictures ' +
  '(data.maxPixels, data.minPixels), a lower optimizer.learningRate or fewer absent questions help';

const ofEmpty = ({ empty }: Survey): string[] =>
  empty === undefined || empty > 0
    ? []
    : [
        'no question has [] for its answer: where nothing matches the model will point at something. Add pictures without ' +
          'what is asked for, where that can happen',
      ];

const ofBoxes = ({ boxes }: Survey): string[] =>
  boxes.tiny < TINY
    ? []
    : [
        `${percent(boxes.tiny)} of the boxes are narrower than half a token of the image as the model sees it: it will hardly ` +
          'find these. Let it see more (data.minPixels, data.maxPixels), or cut pictures into parts',
      ];
