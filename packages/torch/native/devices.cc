// Cards: which there are by the word of their driver, and the memory of those that libtorch uses. CUDA's headers are
// not needed: libtorch's allocators have one interface for all devices, and of the driver a few functions are looked
// up.
#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <dlfcn.h>
#include <torch/version.h>

#include "state.h"

namespace visurf {

namespace {

// Nothing for a device whose memory is the host's.
c10::DeviceAllocator* allocatorOf(c10::Device device) {
  return device.is_cpu() ? nullptr : dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(device.type()));
}

// deviceMemory(device): bytes of a device with memory of its own: `free` and `total` by its driver, `allocated` by
// tensors, with `peak` since the last resetDevicePeak(device), and `reserved` by libtorch for them
Napi::Value deviceMemory(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), "deviceMemory", [&]() -> Napi::Value {
    const auto device = deviceOf(info[0]);
    auto* allocator = allocatorOf(device);
    if (!allocator) return info.Env().Undefined();
    const auto stats = allocator->getDeviceStats(device.index());
    constexpr auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    auto result = Napi::Object::New(info.Env());
    const auto set = [&](const char* name, auto bytes) { result.Set(name, static_cast<double>(bytes)); };
#if TORCH_VERSION_MAJOR > 2 || TORCH_VERSION_MINOR >= 10
    const auto [free, total] = allocator->getMemoryInfo(device.index());
    set("free", free);
    set("total", total);
#endif
    set("allocated", stats.allocated_bytes[all].current);
    set("peak", stats.allocated_bytes[all].peak);
    set("reserved", stats.reserved_bytes[all].current);
    return result;
  });
}

void resetDevicePeak(const Napi::CallbackInfo& info) {
  guarded(info.Env(), "resetDevicePeak", [&] {
    const auto device = deviceOf(info[0]);
    if (auto* allocator = allocatorOf(device)) allocator->resetPeakStats(device.index());
  });
}

// A function of the driver.
template <class Function>
Function* driverFunction(void* driver, const char* name) {
  return reinterpret_cast<Function*>(dlsym(driver, name));
}

// cards(): `driver` (the newest CUDA that it serves, 13000 for 13.0) and `cards` with name, memory and capability; or
// the `problem` that keeps the driver from its work, and no driver at all where there is none
Napi::Value cards(const Napi::CallbackInfo& info) {
  auto result = Napi::Object::New(info.Env());
  auto list = Napi::Array::New(info.Env());
  result.Set("cards", list);
  void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  auto* start = driver ? driverFunction<int(unsigned)>(driver, "cuInit") : nullptr;
  if (!start) return result;
  auto* version = driverFunction<int(int*)>(driver, "cuDriverGetVersion");
  auto* explain = driverFunction<int(int, const char**)>(driver, "cuGetErrorString");
  auto* count = driverFunction<int(int*)>(driver, "cuDeviceGetCount");
  auto* get = driverFunction<int(int*, int)>(driver, "cuDeviceGet");
  auto* nameOf = driverFunction<int(char*, int, int)>(driver, "cuDeviceGetName");
  auto* memoryOf = driverFunction<int(size_t*, int)>(driver, "cuDeviceTotalMem_v2");
  auto* attributeOf = driverFunction<int(int*, int, int)>(driver, "cuDeviceGetAttribute");
  if (!version || !explain || !count || !get || !nameOf || !memoryOf || !attributeOf) return result;
  int number = 0;
  version(&number);
  result.Set("driver", number);
  if (const int error = start(0)) {
    const char* text = nullptr;
    explain(error, &text);
    result.Set("problem", text ? text : "error " + std::to_string(error));
    return result;
  }
  int cards = 0;
  count(&cards);
  for (int i = 0; i < cards; ++i) {
    constexpr int kMajor = 75, kMinor = 76;
    int card = 0, major = 0, minor = 0;
    size_t memory = 0;
    char name[256] = "";
    get(&card, i);
    nameOf(name, sizeof name, card);
    memoryOf(&memory, card);
    attributeOf(&major, kMajor, card);
    attributeOf(&minor, kMinor, card);
    auto each = Napi::Object::New(info.Env());
    each.Set("name", name);
    each.Set("memory", static_cast<double>(memory));
    each.Set("capability", std::to_string(major) + "." + std::to_string(minor));
    list.Set(static_cast<uint32_t>(i), each);
  }
  return result;
}

}  // namespace

c10::Device deviceOf(const Napi::Value& name) {
  const c10::Device device(name.As<Napi::String>().Utf8Value());
  if (device.is_cpu() || device.is_privateuseone()) return device;
  at::globalContext().lazyInitDevice(device.type());
  if (device.has_index()) return device;
  return c10::impl::getDeviceGuardImpl(device.type())->getDevice();
}

void registerDevices(Napi::Object exports) {
  expose<deviceMemory>(exports, "deviceMemory");
  expose<resetDevicePeak>(exports, "resetDevicePeak");
  expose<cards>(exports, "cards");
}

}  // namespace visurf
