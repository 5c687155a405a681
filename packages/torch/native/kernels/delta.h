// The gated delta rule in generation: a token moves the state of a key head and of the value heads that it serves.
#pragma once

#include "rows.h"

namespace visurf {

namespace {

// y = silu(sum of the taps over what came before and x), channel by channel; what came before moves on by x.
template <class T>
void convolve(const T* x, const T* weights, T* tail, T* y, int64_t count, int64_t channels, int64_t taps) {
  for (int64_t c = 0; c < count; ++c) y[c] = x[c] * weights[(taps - 1) * channels + c];
  for (int64_t j = 0; j + 1 < taps; ++j) {
    T* earlier = tail + j * channels;
    for (int64_t c = 0; c < count; ++c) y[c] += earlier[c] * weights[j * channels + c];
    const T* later = j + 2 < taps ? earlier + channels : x;
    std::memcpy(earlier, later, count * sizeof(T));
  }
  for (int64_t c = 0; c < count; ++c) y[c] = y[c] / (1 + exponential(-y[c]));
}

template <class T>
void toLength(T* x, int64_t size, T length) {
  T squares = 0;
  for (int64_t i = 0; i < size; ++i) squares += x[i] * x[i];
  const T factor = length / std::sqrt(squares + T(1e-6));
  for (int64_t i = 0; i < size; ++i) x[i] *= factor;
}

// S = exp(g) S; S += beta k (v - S^T k)^T; out = S^T q. `error` is scratch of dv.
template <class T>
void moveState(T* state, const T* q, const T* k, const T* v, T decay, T beta, T* error, T* out, int64_t dk,
               int64_t dv) {
  for (int64_t j = 0; j < dv; ++j) error[j] = 0;
  for (int64_t i = 0; i < dk; ++i) {
    T* row = state + i * dv;
    for (int64_t j = 0; j < dv; ++j) {
      row[j] *= decay;
      error[j] += k[i] * row[j];
    }
  }
  for (int64_t j = 0; j < dv; ++j) {
    error[j] = beta * (v[j] - error[j]);
    out[j] = 0;
  }
  for (int64_t i = 0; i < dk; ++i) {
    T* row = state + i * dv;
    for (int64_t j = 0; j < dv; ++j) {
      row[j] += k[i] * error[j];
      out[j] += q[i] * row[j];
    }
  }
}

template <class T>
void deltaToken(const Delta<T>& s, int64_t row, int64_t head, T* scratch) {
  const int64_t groups = s.heads / s.keyHeads, channels = s.channels(), values = groups * s.valueSize;
  const int64_t starts[3] = {head * s.keySize, (s.keyHeads + head) * s.keySize,
                             2 * s.keyHeads * s.keySize + head * values};
  T *q = scratch, *k = q + s.keySize, *v = k + s.keySize, *error = v + values;
  T* parts[3] = {q, k, v};
  for (int p = 0; p < 3; ++p)
    convolve<T>(s.mixed + row * channels + starts[p], s.weights + starts[p],
                s.tail + row * (s.taps - 1) * channels + starts[p], parts[p], p < 2 ? s.keySize : values, channels,
                s.taps);
  toLength<T>(q, s.keySize, 1 / std::sqrt(static_cast<T>(s.keySize)));
  toLength<T>(k, s.keySize, 1);
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t each = row * s.heads + head * groups + g;
    T* out = s.out + each * s.valueSize;
    moveState<T>(s.sums + each * s.keySize * s.valueSize, q, k, v + g * s.valueSize, std::exp(s.decay[each]),
                 s.beta[each], error, out, s.keySize, s.valueSize);
    normRow<T>(out, s.norm, out, s.valueSize, s.eps);
    gateRow<T>(s.gate + each * s.valueSize, out, out, s.valueSize);
  }
}

}  // namespace

}  // namespace visurf
