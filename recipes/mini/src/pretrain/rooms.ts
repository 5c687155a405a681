/** The kinds of pictures that a base model learns from, each with its lessons. */
import { render as renderFigure, type Random } from '@visurf/mini-grounding/kit';

import { figureLessons } from '../lessons/figures.ts';
import type { Lesson, LessonOptions } from '../lessons/lesson.ts';
import { partLessons, screenLessons, signLessons, skinLessons } from '../lessons/others.ts';
import * as figures from '../pictures/figures.ts';
import * as parts from '../pictures/parts.ts';
import type { Pixels, Thing } from '../pictures/picture.ts';
import * as screens from '../pictures/screens.ts';
import * as signs from '../pictures/signs.ts';
import * as skins from '../pictures/skin.ts';
import { FAMILIES } from '../vocabulary.ts';
import type { Family } from './targets.ts';

export interface Shown {
  readonly pixels: Pixels;
  readonly things: readonly Thing[];
  readonly lessons: readonly Lesson[];
}

/** A kind of pictures: how one is drawn, and the names that its things have. */
export interface Room {
  readonly families: readonly Family[];
  draw(random: Random, options: LessonOptions): Shown | Promise<Shown>;
}

/** Pictures of the training split, whose compositions occur in no other. */
export const ROOMS = {
  figures: {
    families: [FAMILIES.color, FAMILIES.shape],
    draw(random, options) {
      const scene = figures.drawFigure('train', random);
      const lessons = figureLessons(scene, random, options);
      return { pixels: renderFigure(scene, random), things: figures.thingsOf(scene), lessons };
    },
  },
  screens: {
    families: [FAMILIES.label, FAMILIES.control],
    async draw(random, options) {
      const screen = screens.drawScreen('train', random);
      const lessons = screenLessons(screen, random, options);
      return { pixels: await screens.render(screen), things: screens.thingsOf(screen), lessons };
    },
  },
  parts: {
    families: [FAMILIES.defect],
    draw(random, options) {
      const part = parts.drawPart('train', random.uniform() < 0.5, random);
      const lessons = partLessons(part, random, options);
      return { pixels: parts.render(part, random), things: parts.thingsOf(part), lessons };
    },
  },
  skin: {
    families: [FAMILIES.lesion],
    draw(random, options) {
      const skin = skins.drawSkin('train', random);
      const lessons = skinLessons(skin, random, options);
      return { pixels: skins.render(skin, random), things: skins.thingsOf(skin), lessons };
    },
  },
  signs: {
    families: [FAMILIES.digit],
    draw(random) {
      const sign = signs.drawSign('train', random);
      const lessons = signLessons(sign, random);
      return { pixels: signs.render(sign, random), things: signs.thingsOf(sign), lessons };
    },
  },
} as const satisfies Record<string, Room>;
