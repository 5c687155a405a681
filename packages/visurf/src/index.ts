/** The library, under the name that users install. */
export * from '@visurf/core';
