/** The studio as a library. */
export { exportRun, type ExportedRun, type ExportOptions } from './export.ts';
export { follow, type FollowOptions } from './follow/follow.ts';
export { startStudio, type StudioOptions, type StudioServer } from './server.ts';
