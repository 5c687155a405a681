/** What other miniatures are made with, beside the kit of mini-grounding: canvases, lessons, the pretraining. */
export { exists, imagine, refer, type Named } from './lessons/finding.ts';
export type { Lesson, LessonOptions } from './lessons/lesson.ts';
export { Canvas, dimmed, edge, type Rgb } from './pictures/canvas.ts';
export type { Pixels, Thing } from './pictures/picture.ts';
export { SHARED, type PretrainPlan } from './pretrain/plan.ts';
export type { Room, Shown } from './pretrain/rooms.ts';
export { pretrainOn } from './pretrain/school.ts';
