// Memory of tensors on the CPU. libtorch's own allocator asks glibc for aligned blocks, and glibc before 2.38 does not
// give a freed aligned block to the next request of that size: the heap grows by what is reused in truth. Here the
// alignment is made by hand inside plain blocks, which are reused, and what is in use is counted.
#include <c10/core/CPUAllocator.h>
#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <mutex>

#include "state.h"

namespace visurf {

namespace {

constexpr size_t alignment = 64;  // as libtorch's

// Before the data of every block.
struct Header {
  void* block;
  size_t bytes;
};

std::atomic<int64_t> bytesInUse = 0;
std::atomic<int64_t> highestInUse = 0;

void countNew(int64_t bytes) {
  const int64_t now = bytesInUse += bytes;
  int64_t highest = highestInUse;
  while (now > highest && !highestInUse.compare_exchange_weak(highest, now)) {
  }
}

void release(void* data) {
  if (!data) return;
  const Header header = static_cast<Header*>(data)[-1];
  bytesInUse -= static_cast<int64_t>(header.bytes);
  c10::profiledCPUMemoryReporter().Delete(data);
  std::free(header.block);
}

class Allocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* data = bytes > 0 ? aligned(bytes) : nullptr;
    return {data, data, &release, at::Device(at::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }

 private:
  static void* aligned(size_t bytes) {
    // malloc aligns to 16, so that the header fits before the next multiple of 64.
    void* block =
        bytes < SIZE_MAX - alignment - sizeof(Header) ? std::malloc(bytes + alignment + sizeof(Header)) : nullptr;
    if (!block) {
      c10::profiledCPUMemoryReporter().OutOfMemory(bytes);
      throw std::runtime_error("not enough memory for a tensor of " + std::to_string(bytes) + " bytes");
    }
    const auto after = reinterpret_cast<uintptr_t>(block) + sizeof(Header);
    auto* data = reinterpret_cast<Header*>((after + alignment - 1) / alignment * alignment);
    data[-1] = {block, bytes};
    countNew(static_cast<int64_t>(bytes));
    c10::profiledCPUMemoryReporter().New(data, bytes);
    return data;
  }
};

// allocated(): bytes of tensors on the CPU, of all threads; `peak` since the last resetPeakAllocated()
Napi::Value allocated(const Napi::CallbackInfo& info) {
  auto result = Napi::Object::New(info.Env());
  result.Set("bytes", static_cast<double>(bytesInUse));
  result.Set("peak", static_cast<double>(highestInUse));
  return result;
}

void resetPeakAllocated(const Napi::CallbackInfo& info) { highestInUse = bytesInUse.load(); }

}  // namespace

void registerAllocator(Napi::Object exports) {
  static std::once_flag once;
  std::call_once(once, [] {
#ifdef __GLIBC__
    // Freed buffers of megabytes are kept for the next tensor instead of going back to the system page by page.
    // Before glibc 2.35 no more than 32 MB is accepted.
    if (!mallopt(M_MMAP_THRESHOLD, 1 << 30)) mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_TOP_PAD, 64 << 20);
#endif
    c10::SetCPUAllocator(new Allocator, 1);
  });
  expose<allocated>(exports, "allocated");
  expose<resetPeakAllocated>(exports, "resetPeakAllocated");
}

}  // namespace visurf
