#include "levels.h"

#include <ATen/Version.h>

namespace visurf {

extern const Level DEFAULTKernels;
#ifdef VISURF_X86
extern const Level AVX2Kernels, AVX512Kernels;
#endif

// libtorch's choice, so that ATEN_CPU_CAPABILITY forces its kernels and ours together. Levels of others than x86 that
// we do not know are better than the default, and run it.
const Level& level() {
  static const Level& chosen = []() -> const Level& {
    [[maybe_unused]] const std::string name = at::get_cpu_capability();
#ifdef VISURF_X86
    for (const Level* each : {&AVX2Kernels, &AVX512Kernels})
      if (name == each->name) return *each;
#endif
    return DEFAULTKernels;
  }();
  return chosen;
}

template <>
const Kernels<float>& kernels<float>() {
  return level().single;
}

template <>
const Kernels<double>& kernels<double>() {
  return level().twice;
}

}  // namespace visurf
