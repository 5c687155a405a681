// What the kernels share: compilation per instruction set, sizes of tasks, the exponential, loops over one row.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

// One compilation per instruction set; the loader picks the machine's.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define VISURF_KERNEL __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VISURF_KERNEL
#endif
// For what must become part of a kernel: a call would neither vectorise nor know the kernel's instruction set.
#define VISURF_INLINE __attribute__((always_inline)) inline

namespace visurf {

constexpr int64_t kGrain = 16384;  // elements per task

inline int64_t grainRows(int64_t width) { return std::max<int64_t>(1, kGrain / std::max<int64_t>(width, 1)); }

// exp within a few units in the last place, written so that loops over it vectorise (Cephes' reduction and polynomial);
// a call instead of the code would keep them scalar.
VISURF_INLINE float exponential(float x) {
  const float bounded = std::min(std::max(x, -87.3f), 88.3f);
  const float n = __builtin_rintf(bounded * 1.44269504f);
  const float r = (bounded - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1;
  const float power = std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
  return x == x ? p * power : x;
}
VISURF_INLINE double exponential(double x) { return std::exp(x); }

// y = x / sqrt(mean(x^2) + eps) * w; returns the factor of x.
template <class T>
VISURF_INLINE T normRow(const T* x, const T* w, T* y, int64_t width, T eps) {
  T squares = 0;
  for (int64_t i = 0; i < width; ++i) squares += x[i] * x[i];
  const T factor = 1 / std::sqrt(squares / width + eps);
  for (int64_t i = 0; i < width; ++i) y[i] = x[i] * factor * w[i];
  return factor;
}

// y = silu(gate) up
template <class T>
VISURF_INLINE void gateRow(const T* gate, const T* up, T* y, int64_t width) {
  for (int64_t i = 0; i < width; ++i) y[i] = gate[i] / (1 + exponential(-gate[i])) * up[i];
}

}  // namespace visurf
