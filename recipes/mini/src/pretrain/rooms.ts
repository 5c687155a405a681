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

type Draw = (random: Random, options: LessonOptions) => Shown | Promise<Shown>;

/** Pictures of the training split, whose compositions occur in no other. */
export const ROOMS = {
  figures(random, options) {
    const scene = figures.drawFigure('train', random);
    const lessons = figureLessons(scene, random, options);
    return { pixels: renderFigure(scene, random), things: figures.thingsOf(scene), lessons };
  },
  async screens(random, options) {
    const screen = screens.drawScreen('train', random);
    const lessons = screenLessons(screen, random, options);
    return { pixels: await screens.render(screen), things: screens.thingsOf(screen), lessons };
  },
  parts(random, options) {
    const part = parts.drawPart('train', random.uniform() < 0.5, random);
    const lessons = partLessons(part, random, options);
    return { pixels: parts.render(part, random), things: parts.thingsOf(part), lessons };
  },
  skin(random, options) {
    const skin = skins.drawSkin('train', random);
    const lessons = skinLessons(skin, random, options);
    return { pixels: skins.render(skin, random), things: skins.thingsOf(skin), lessons };
  },
  signs(random) {
    const sign = signs.drawSign('train', random);
    const lessons = signLessons(sign, random);
    return { pixels: signs.render(sign, random), things: signs.thingsOf(sign), lessons };
  },
} satisfies Record<string, Draw>;

export type Room = keyof typeof ROOMS;

/** The names that the things of a room have. */
export const ROOM_FAMILIES: Readonly<Record<Room, readonly Family[]>> = {
  figures: [FAMILIES.color, FAMILIES.shape],
  screens: [FAMILIES.label, FAMILIES.control],
  parts: [FAMILIES.defect],
  skin: [FAMILIES.lesion],
  signs: [FAMILIES.digit],
};
