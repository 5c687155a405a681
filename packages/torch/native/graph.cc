// Work on a GPU that is recorded once and launched as a whole: the processor asks once, not thousands of times.
// Compiled to "cannot" where the headers of CUDA are missing.
#include "state.h"

#ifdef VISURF_CUDA_HEADERS
#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/DeviceGuard.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#endif

namespace visurf {

namespace {

#ifdef VISURF_CUDA_HEADERS

struct Recording {
  explicit Recording(c10::Device device) : device(device) {}

  // libtorch records, and launches, on the device that is current.
  c10::Device device;
  at::cuda::CUDAGraph graph;
  // The caller's, while what is asked is noted in another: the default stream cannot be recorded.
  std::optional<c10::cuda::CUDAStream> caller;

  void end() {
    if (!caller) return;
    const c10::DeviceGuard guard(device);
    const auto back = [&] { c10::cuda::setCurrentCUDAStream(*std::exchange(caller, std::nullopt)); };
    try {
      graph.capture_end();
    } catch (...) {
      back();
      throw;
    }
    back();
  }

  // Where what was to be recorded failed, it is broken off.
  ~Recording() {
    try {
      end();
    } catch (const std::exception&) {
      // It was broken already, which whoever asked was told.
    }
  }
};

constexpr bool kCanRecord = true;

Recording& recordingAt(const Napi::CallbackInfo& info) {
  return *static_cast<Recording*>(State::of(info.Env()).recordings.at(info[0].As<Napi::Number>().Uint32Value()).get());
}

// beginRecording(device): an id; until `endRecording` what is asked of the device is noted and not done
Napi::Value beginRecording(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), "beginRecording", [&] {
    auto& state = State::of(info.Env());
    const c10::Device named(info[0].As<Napi::String>().Utf8Value());
    const c10::Device device(named.type(), named.has_index() ? named.index() : c10::cuda::current_device());
    const c10::DeviceGuard guard(device);
    c10::cuda::device_synchronize();
    auto recording = std::make_shared<Recording>(device);
    recording->caller = c10::cuda::getCurrentCUDAStream(device.index());
    c10::cuda::setCurrentCUDAStream(c10::cuda::getStreamFromPool(false, device.index()));
    // Other threads may ask the device for memory meanwhile.
    recording->graph.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    state.recordings.emplace(++state.lastRecording, std::move(recording));
    return Napi::Number::New(info.Env(), state.lastRecording);
  });
}

void endRecording(const Napi::CallbackInfo& info) {
  guarded(info.Env(), "endRecording", [&] { recordingAt(info).end(); });
}

void replay(const Napi::CallbackInfo& info) {
  guarded(info.Env(), "replay", [&] {
    auto& recording = recordingAt(info);
    const c10::DeviceGuard guard(recording.device);
    recording.graph.replay();
  });
}

#else

constexpr bool kCanRecord = false;

[[noreturn]] void refuse() { throw std::runtime_error("this addon was compiled without the headers of CUDA"); }
Napi::Value beginRecording(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), "beginRecording", []() -> Napi::Value { refuse(); });
}
void endRecording(const Napi::CallbackInfo& info) {
  guarded(info.Env(), "endRecording", [] { refuse(); });
}
void replay(const Napi::CallbackInfo& info) {
  guarded(info.Env(), "replay", [] { refuse(); });
}

#endif

void disposeRecording(const Napi::CallbackInfo& info) {
  guarded(info.Env(), "disposeRecording",
          [&] { State::of(info.Env()).recordings.erase(info[0].As<Napi::Number>().Uint32Value()); });
}

Napi::Value canRecord(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), kCanRecord); }

}  // namespace

void registerGraph(Napi::Object exports) {
  expose<canRecord>(exports, "canRecord");
  expose<beginRecording>(exports, "beginRecording");
  expose<endRecording>(exports, "endRecording");
  expose<replay>(exports, "replay");
  expose<disposeRecording>(exports, "disposeRecording");
}

}  // namespace visurf
