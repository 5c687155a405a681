// Which elements dropout keeps: a function of a row's key, of what tells one dropout from another, and of the column.
#pragma once

#include "vectors.h"

namespace visurf {

namespace {

constexpr int64_t kDrawn = 32;  // hashes that are made together, of four columns each

// Doug Lea's mixer of 64 bits, as java.util.random has it: half shifts alone, which are views on other devices.
inline uint64_t mixed(uint64_t z) {
  z = (z ^ (z >> 32)) * kMixer;
  z = (z ^ (z >> 32)) * kMixer;
  return z ^ (z >> 32);
}

template <class T>
void dropRows(const T* x, const int64_t* keys, T* y, int64_t begin, int64_t end, int64_t width, int64_t gamma,
              int16_t least) {
  const auto step = static_cast<uint64_t>(gamma);
  for (int64_t row = begin; row < end; ++row) {
    const T* in = x + row * width;
    T* out = y + row * width;
    auto state = static_cast<uint64_t>(keys[row]);
    for (int64_t at = 0; at < width; at += 4 * kDrawn, state += kDrawn * step) {
      uint64_t hashes[kDrawn];
      for (int64_t j = 0; j < kDrawn; ++j) hashes[j] = mixed(state + (j + 1) * step);
      int16_t drawn[4 * kDrawn];
      std::memcpy(drawn, hashes, sizeof(drawn));
      const int64_t count = width - at < 4 * kDrawn ? width - at : 4 * kDrawn;
      for (int64_t i = 0; i < count; ++i) out[at + i] = drawn[i] >= least ? in[at + i] : 0;
    }
  }
}

}  // namespace

}  // namespace visurf
