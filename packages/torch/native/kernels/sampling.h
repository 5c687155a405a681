// The choice of the next token.
#pragma once

#include <cstring>
#include <limits>

#include "vectors.h"

namespace visurf {

namespace {

// Weights exp(scale (x - shift)), 0 where they are -infinity before, however small an exponential can get; `all` is
// their sum with those, the result without. The arrays must not overlap: such loops do not vectorise.
template <class T>
__attribute__((noinline)) T weigh(const T* x, int64_t count, T scale, T shift, T* weights, T* all) {
  T part = 0, mass = 0;
  for (int64_t i = 0; i < count; ++i) {
    const T weight = exponential(scale * (x[i] - shift));
    part += weight;
    weights[i] = weights[i] == -std::numeric_limits<T>::infinity() ? 0 : weight;
    mass += weights[i];
  }
  *all = part;
  return mass;
}

template <class T>
int64_t sampleRow(const T* logits, const T* forbidden, T temperature, double noise, int64_t size, T* weights,
                  double* masses, double* logProb) {
  const T largest = largestOf(logits, size);
  for (int64_t i = 0; i < size; ++i) weights[i] = forbidden ? logits[i] + forbidden[i] : logits[i];
  const T allowed = largestOf(weights, size);
  // One exponential serves both distributions where they are the same but for what is forbidden.
  const bool same = temperature == 1 && largest - allowed < 40;
  const T inverse = 1 / temperature;
  T block[kMassBlock];
  double all = 0, total = 0;
  for (int64_t begin = 0; begin < size; begin += kMassBlock) {
    const int64_t count = smaller(kMassBlock, size - begin);
    T part, mass, rest;
    if (same) {
      mass = weigh<T>(logits + begin, count, 1, largest, weights + begin, &part);
    } else {
      std::memcpy(block, logits + begin, count * sizeof(T));
      part = exponentials<T>(block, count, 1, largest);
      std::memcpy(block, weights + begin, count * sizeof(T));
      mass = weigh<T>(block, count, inverse, allowed, weights + begin, &rest);
    }
    all += part;
    total += mass;
    masses[begin / kMassBlock] = mass;
  }
  const double threshold = noise * total;
  double cumulative = 0;
  int64_t first = 0;
  for (; first + kMassBlock < size && cumulative + masses[first / kMassBlock] <= threshold; first += kMassBlock)
    cumulative += masses[first / kMassBlock];
  int64_t chosen = -1;
  for (int64_t i = first; i < size; ++i) {
    if (weights[i] == 0) continue;
    chosen = i;
    cumulative += weights[i];
    if (cumulative > threshold) break;
  }
  // Sums in another order may end just below the threshold, in a block where nothing is allowed.
  for (int64_t i = size - 1; chosen < 0 && i > 0; --i)
    if (weights[i] > 0) chosen = i;
  if (chosen < 0) chosen = 0;
  *logProb = static_cast<double>(logits[chosen] - largest) - std::log(all);
  return chosen;
}

}  // namespace

}  // namespace visurf
