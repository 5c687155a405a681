/** What a run writes, and what is decided about a group, as pure functions: for readers of runs, without libtorch. */
export { fileError, UserError, messageOf } from './errors.ts';
export {
  eventOf,
  readEvents,
  FORMAT,
  type RunEvent,
  type StepEvent,
  type StartEvent,
  type EndEvent,
} from './run/events.ts';
export type { GroupRecord, LabelRecord, ResponseRecord, RolloutRecord } from './run/groups.ts';
export type { SampleRecord } from './run/samples.ts';
export { groupAdvantages, type Baseline, type Std } from './objective/advantage.ts';
export { controlLabel, type LabelSettings } from './label/control.ts';
export type { Box, Point } from './types.ts';
export { readBytes, readText, requireFile } from './regular.ts';
export { writeAside } from './disk/durable.ts';
export { SetAside } from './disk/set-aside.ts';
export { RecordCopies } from './mirror/copies.ts';
export { isStored } from './store/address.ts';
