// Handles, copies between tensors and typed arrays, generators, facts about this libtorch.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/version.h>

#include <algorithm>
#include <cstring>

#include "levels.h"
#include "state.h"

namespace visurf {

namespace {

std::vector<int64_t> sizes(const Napi::Value& value) {
  auto array = value.As<Napi::Array>();
  std::vector<int64_t> result(array.Length());
  for (uint32_t i = 0; i < array.Length(); ++i) result[i] = array.Get(i).As<Napi::Number>().Int64Value();
  return result;
}

at::ScalarType scalarType(const Napi::Value& value) {
  return static_cast<at::ScalarType>(value.As<Napi::Number>().Int32Value());
}

// fromBytes(typed array, shape, dtype): a copy on the CPU
Napi::Value fromBytes(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), "tensor", [&] {
    auto view = info[0].As<Napi::TypedArray>();
    auto* data = static_cast<uint8_t*>(view.ArrayBuffer().Data()) + view.ByteOffset();
    auto tensor = at::empty(sizes(info[1]), at::TensorOptions().dtype(scalarType(info[2])));
    if (tensor.nbytes() != view.ByteLength())
      throw std::runtime_error("the shape needs " + std::to_string(tensor.nbytes()) + " bytes, the data has " +
                               std::to_string(view.ByteLength()));
    if (tensor.scalar_type() == at::kBool)
      std::transform(data, data + view.ByteLength(), tensor.data_ptr<bool>(), [](uint8_t byte) { return byte != 0; });
    else
      std::memcpy(tensor.data_ptr(), data, view.ByteLength());
    return Napi::Number::New(info.Env(), State::of(info.Env()).put(tensor));
  });
}

// toBytes(tensor): an ArrayBuffer with its elements in row-major order
Napi::Value toBytes(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), "toBytes", [&] {
    const auto tensor = State::of(info.Env()).get(info[0]).detach().to(at::kCPU).contiguous();
    auto buffer = Napi::ArrayBuffer::New(info.Env(), tensor.nbytes());
    std::memcpy(buffer.Data(), tensor.data_ptr(), tensor.nbytes());
    return buffer;
  });
}

// toNumbers(tensor): an ArrayBuffer of doubles; int64 values that a double cannot hold are refused
Napi::Value toNumbers(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), "toNumbers", [&] {
    const auto tensor = State::of(info.Env()).get(info[0]).detach().to(at::kCPU).contiguous();
    auto buffer = Napi::ArrayBuffer::New(info.Env(), tensor.numel() * sizeof(double));
    auto* out = static_cast<double*>(buffer.Data());
    if (tensor.scalar_type() == at::kLong) {
      const auto* data = tensor.const_data_ptr<int64_t>();
      for (int64_t i = 0; i < tensor.numel(); ++i) out[i] = exactDouble(data[i]);
    } else {
      const auto doubles = tensor.to(at::kDouble);
      std::memcpy(out, doubles.data_ptr(), doubles.nbytes());
    }
    return buffer;
  });
}

Napi::Value shape(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), "shape", [&] {
    const auto dimensions = State::of(info.Env()).get(info[0]).sizes();
    auto array = Napi::Array::New(info.Env(), dimensions.size());
    for (uint32_t i = 0; i < dimensions.size(); ++i)
      array.Set(i, Napi::Number::New(info.Env(), exactDouble(dimensions[i])));
    return array;
  });
}

Napi::Value dtype(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), "dtype", [&] {
    return Napi::Number::New(info.Env(), static_cast<int>(State::of(info.Env()).get(info[0]).scalar_type()));
  });
}

Napi::Value device(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), "device",
                 [&] { return Napi::String::New(info.Env(), State::of(info.Env()).get(info[0]).device().str()); });
}

void dispose(const Napi::CallbackInfo& info) {
  guarded(info.Env(), "dispose", [&] { State::of(info.Env()).release(info[0].As<Napi::Number>().Uint32Value()); });
}

// disposeAll(handles, count): those of a Uint32Array
void disposeAll(const Napi::CallbackInfo& info) {
  guarded(info.Env(), "dispose", [&] {
    auto& state = State::of(info.Env());
    const auto handles = info[0].As<Napi::Uint32Array>();
    const auto count = std::min<size_t>(info[1].As<Napi::Number>().Uint32Value(), handles.ElementLength());
    for (size_t i = 0; i < count; ++i) state.release(handles.Data()[i]);
  });
}

Napi::Value live(const Napi::CallbackInfo& info) {
  auto& state = State::of(info.Env());
  auto result = Napi::Object::New(info.Env());
  result.Set("handles", static_cast<double>(state.liveHandles));
  result.Set("bytes", static_cast<double>(state.liveBytes));
  return result;
}

uint64_t seed(const Napi::Value& value) {
  bool lossless = false;
  const uint64_t number = value.As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless) throw std::runtime_error("a seed is an integer from 0 to 2^64 - 1");
  return number;
}

Napi::Value newGenerator(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), "Generator", [&] {
    const auto device = deviceOf(info[1]);
    const uint64_t number = seed(info[0]);
    // The stand-in computes with the CPU's kernels.
    auto generator = device.is_cpu() || device.is_privateuseone()
                         ? at::detail::createCPUGenerator(number)
                         : at::globalContext().defaultGenerator(device).clone();
    const std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_current_seed(number);
    return Napi::Number::New(info.Env(), State::of(info.Env()).putGenerator(generator));
  });
}

Napi::Value generatorState(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), "Generator", [&] {
    auto& state = State::of(info.Env());
    auto& generator = state.generatorAt(info[0].As<Napi::Number>().Uint32Value());
    const std::lock_guard<std::mutex> lock(generator.mutex());
    return Napi::Number::New(info.Env(), state.put(generator.get_state()));
  });
}

void setGeneratorState(const Napi::CallbackInfo& info) {
  guarded(info.Env(), "Generator", [&] {
    auto& state = State::of(info.Env());
    auto& generator = state.generatorAt(info[0].As<Napi::Number>().Uint32Value());
    const std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_state(state.get(info[1]));
  });
}

void releaseGenerator(const Napi::CallbackInfo& info) {
  guarded(info.Env(), "Generator",
          [&] { State::of(info.Env()).releaseGenerator(info[0].As<Napi::Number>().Uint32Value()); });
}

void manualSeed(const Napi::CallbackInfo& info) {
  guarded(info.Env(), "manual_seed", [&] {
    auto generator = at::globalContext().defaultGenerator(at::kCPU);
    const uint64_t number = seed(info[0]);
    const std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_current_seed(number);
  });
}

void setNumThreads(const Napi::CallbackInfo& info) {
  guarded(info.Env(), "set_num_threads", [&] { at::set_num_threads(info[0].As<Napi::Number>().Int32Value()); });
}

// setDeterministic(on): what it was. Operators that have no such kernel refuse while it is on.
Napi::Value setDeterministic(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), "setDeterministic", [&] {
    auto& context = at::globalContext();
    const bool before = context.deterministicAlgorithms();
    context.setDeterministicAlgorithms(info[0].As<Napi::Boolean>(), false);
    // Nothing here reads what it has not written.
    context.setDeterministicFillUninitializedMemory(false);
    return Napi::Boolean::New(info.Env(), before);
  });
}

Napi::Value info(const Napi::CallbackInfo& call) {
  auto result = Napi::Object::New(call.Env());
  result.Set("version", TORCH_VERSION);
  result.Set("threads", at::get_num_threads());
  result.Set("cpuCapability", at::get_cpu_capability());
  result.Set("kernels", level().name);
  // Whether it was built for it: `hasCUDA` is also false where there is no driver.
  const auto product = c10::Dispatcher::singleton().findSchemaOrThrow("aten::mm", "");
  result.Set("cuda", product.hasKernelForDispatchKey(c10::DispatchKey::CUDA));
  result.Set("cudaDevices", at::hasCUDA() ? static_cast<int>(at::detail::getCUDAHooks().deviceCount()) : 0);
  result.Set("mkl", at::hasMKL());
  result.Set("parallel", at::get_parallel_info());
  return result;
}

}  // namespace

void registerMemory(Napi::Object exports) {
  expose<fromBytes>(exports, "fromBytes");
  expose<toBytes>(exports, "toBytes");
  expose<toNumbers>(exports, "toNumbers");
  expose<shape>(exports, "shape");
  expose<dtype>(exports, "dtype");
  expose<device>(exports, "device");
  expose<dispose>(exports, "dispose");
  expose<disposeAll>(exports, "disposeAll");
  expose<live>(exports, "live");
  expose<newGenerator>(exports, "newGenerator");
  expose<generatorState>(exports, "generatorState");
  expose<setGeneratorState>(exports, "setGeneratorState");
  expose<releaseGenerator>(exports, "releaseGenerator");
  expose<manualSeed>(exports, "manualSeed");
  expose<setNumThreads>(exports, "setNumThreads");
  expose<setDeterministic>(exports, "setDeterministic");
  expose<info>(exports, "info");
}

}  // namespace visurf
