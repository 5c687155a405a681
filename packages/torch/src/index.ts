/** libtorch for TypeScript: tensors, autograd, nn, optimisers, safetensors, with PyTorch's names in camelCase. */
export {
  TorchError,
  cards,
  info,
  isOutOfMemory,
  manualSeed,
  observeCalls,
  setNumThreads,
  type Cards,
  type DeviceMemory,
  type ObserveCall,
  type TorchInfo,
} from './native.ts';
export * as distributed from './distributed.ts';
export { droppable } from './droppable.ts';
export { machineLevels, type Level } from './levels.ts';
export { itemSize, type DType, type FloatDType, type TypedArray } from './dtype.ts';
export { Tensor, type Device } from './tensor.ts';
export { currentDevice, deterministic, withDevice } from './device.ts';
export { record, type Recording } from './recording.ts';
export * from './factories.ts';
export * as functional from './functional.ts';
export * from './autograd.ts';
export { allocated, deviceMemory, keep, live, resetPeakAllocated, scope } from './scope.ts';
export * as nn from './nn.ts';
export * as optim from './optim.ts';
export { Nf4 } from './nf4.ts';
export { SafetensorsFile, saveSafetensors, type LazyTensor } from './safetensors.ts';
export { SafetensorsIndex, openSafetensors, saveShardedSafetensors } from './sharded.ts';
