export * from '@visurf/torch/ports';
export * from '@visurf/torch/signals';
