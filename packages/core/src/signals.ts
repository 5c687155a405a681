export * from '@visurf/torch/signals';
