/** Prompts of the grounding task. */

/** The user turn of the published checkpoints, part of their input format. */
export const BOXES_AND_POINTS =
  'Please find "{Question}" with bboxs and points.' +
  'Compare the difference between object(s) and find the most closely matched object(s).' +
  'Output the thinking process in <think> </think> and final answer in <answer> </answer> tags.' +
  'Output the bbox(es) and point(s) inside the interested object(s) in JSON format.' +
  'i.e., <think> thinking process here </think><answer>{Answer}</answer>';

/** The same without points, for labels that have none. */
export const BOXES_ONLY = BOXES_AND_POINTS.replace('bboxs and points', 'bboxs').replace(
  'bbox(es) and point(s) inside',
  'bbox(es) of',
);

/** Seg-Zero's user turn, which asks for one object. */
export const ONE_OBJECT =
  "Please find '{Question}' with bbox and points." +
  'Compare the difference between objects and find the most closely matched one.' +
  'Output the thinking process in <think> </think> and final answer in <answer> </answer> tags.' +
  'Output the one bbox and points of two largest inscribed circles inside the interested object in JSON format.' +
  'i.e., <think> thinking process here </think><answer>{Answer}</answer>';

export const ONE_OBJECT_EXAMPLE = "{'bbox': [10,100,200,210], 'points_1': [30,110], 'points_2': [35,180]}";

/** VLM-R1's user turn, behind a question that asks for a box in its own words. */
export const ANY_QUESTION =
  '{Question} First output the thinking process in <think> </think> tags and then output the final answer in ' +
  '<answer> </answer> tags. Output the final answer in JSON format.';

const EXAMPLES = [
  { bbox: '[10,100,200,210]', point: '[30,110]' },
  { bbox: '[225,296,706,786]', point: '[302,410]' },
];

/** An answer with two objects. */
export function exampleAnswer(points: boolean): string {
  const objects = EXAMPLES.map(({ bbox, point }) => `{"bbox_2d": ${bbox}${points ? `, "point_2d": ${point}` : ''}}`);
  return `[${objects.join(', ')}]`;
}

/** Lower case, without the final full stop. */
export function question(problem: string): string {
  return problem.trim().toLowerCase().replace(/\.$/, '');
}
