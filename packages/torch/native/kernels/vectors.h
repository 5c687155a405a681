// Vectors of the instruction set that this is compiled for, and the exponential.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "kernels.h"

namespace visurf {

namespace {

// The width of a register, and the tile of a product that the registers hold beside its factors.
#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kTileRows = 12, kTileVectors = 2;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32, kTileRows = 6, kTileVectors = 2;
#elif defined(__aarch64__)
constexpr int kVectorBytes = 16, kTileRows = 12, kTileVectors = 2;
#else
constexpr int kVectorBytes = 16, kTileRows = 4, kTileVectors = 2;
#endif

template <class T, int bytes>
struct VectorOf {
  typedef T type __attribute__((vector_size(bytes), aligned(alignof(T)), may_alias));
};
// A vector of one number would live in memory.
template <class T>
struct VectorOf<T, sizeof(T)> {
  typedef T type;
};
template <class T, int bytes>
using Vector = typename VectorOf<T, bytes>::type;

template <class T>
inline int64_t wholeVectors(int64_t count) {
  constexpr int64_t lanes = kVectorBytes / sizeof(T);
  return (count + lanes - 1) / lanes * lanes;
}

// What follows `count` numbers (at least one) in the last of their vectors becomes `value`.
template <class T>
inline void fillUp(T* x, int64_t count, T value) {
  using V = Vector<T, kVectorBytes>;
  constexpr int64_t lanes = kVectorBytes / sizeof(T);
  V places;
  for (int64_t lane = 0; lane < lanes; ++lane) places[lane] = lane;
  const int64_t before = wholeVectors<T>(count) - lanes;
  auto* last = reinterpret_cast<V*>(x + before);
  *last = places < V{} + static_cast<T>(count - before) ? *last : V{} + value;
}

// exp within a few units in the last place, written so that loops over it vectorise (Cephes' reduction and polynomial).
// NaN would pass without being asked for, but GCC then leaves the loops of SSE2 scalar.
// The multiple of log 2 is rounded by adding 1.5 * 2^23, in whose bits it then stands: SSE2 rounds in no other way.
inline float exponential(float x) {
  constexpr float shift = 12582912;
  const float low = x < -87.3f ? -87.3f : x;
  const float bounded = low > 88.3f ? 88.3f : low;
  const int32_t power = std::bit_cast<int32_t>(bounded * 1.44269504f + shift) - std::bit_cast<int32_t>(shift);
  const auto n = static_cast<float>(power);
  const float r = (bounded - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1;
  return x == x ? p * std::bit_cast<float>((power + 127) << 23) : x;
}
inline double exponential(double x) { return std::exp(x); }

// x = exp(scale (x - shift)); returns the sum. A function of its own keeps the constants in registers.
template <class T>
__attribute__((noinline)) T exponentials(T* x, int64_t count, T scale, T shift) {
  T total = 0;
  for (int64_t i = 0; i < count; ++i) {
    x[i] = exponential(scale * (x[i] - shift));
    total += x[i];
  }
  return total;
}

template <class T>
inline T smaller(T a, T b) {
  return b < a ? b : a;
}

// The largest of numbers; NaN is passed over. Written in vectors: where NaN has a meaning, compilers keep the plain
// loop scalar.
template <class T>
inline T largestOf(const T* x, int64_t count) {
  using V = Vector<T, kVectorBytes>;
  constexpr int64_t lanes = kVectorBytes / sizeof(T);
  constexpr T lowest = -std::numeric_limits<T>::infinity();
  V most[4];
  for (auto& each : most) each = V{} + lowest;
  const auto take = [&](int j, V next) { most[j] = next > most[j] ? next : most[j]; };
  int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes)
    for (int j = 0; j < 4; ++j) take(j, reinterpret_cast<const V*>(x + i)[j]);
  for (; i + lanes <= count; i += lanes) take(0, *reinterpret_cast<const V*>(x + i));
  take(0, most[1]);
  take(2, most[3]);
  take(0, most[2]);
  T left[lanes];
  std::memcpy(left, &most[0], sizeof(left));
  for (int64_t half = lanes / 2; half > 0; half /= 2)
    for (int64_t lane = 0; lane < half; ++lane)
      left[lane] = left[lane + half] > left[lane] ? left[lane + half] : left[lane];
  T largest = left[0];
  for (; i < count; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

}  // namespace

}  // namespace visurf
