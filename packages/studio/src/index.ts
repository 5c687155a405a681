/** The studio as a library. */
export { startStudio, type StudioOptions, type StudioServer } from './server.ts';
