// Norms, rotation, the gate: one pass over each row.
#pragma once

#include "vectors.h"

namespace visurf {

namespace {

// Returns the factor of x.
template <class T>
T normRow(const T* x, const T* w, T* y, int64_t width, T eps) {
  T squares = 0;
  for (int64_t i = 0; i < width; ++i) squares += x[i] * x[i];
  const T factor = 1 / std::sqrt(squares / width + eps);
  for (int64_t i = 0; i < width; ++i) y[i] = x[i] * factor * w[i];
  return factor;
}

template <class T>
void normRows(const T* x, const T* w, T* y, T* scale, int64_t begin, int64_t end, int64_t width, T eps) {
  for (int64_t row = begin; row < end; ++row) scale[row] = normRow<T>(x + row * width, w, y + row * width, width, eps);
}

// dx = s (g w - x s^2 mean(g w x)); dw += g x s
template <class T>
void normRowsBackward(const T* g, const T* x, const T* w, const T* scale, T* dx, T* dw, int64_t begin, int64_t end,
                      int64_t width) {
  for (int64_t row = begin; row < end; ++row) {
    const T* grad = g + row * width;
    const T* in = x + row * width;
    T* out = dx + row * width;
    const T s = scale[row];
    T dot = 0;
    for (int64_t i = 0; i < width; ++i) dot += grad[i] * w[i] * in[i];
    const T shift = dot * s * s * s / width;
    for (int64_t i = 0; i < width; ++i) {
      out[i] = grad[i] * w[i] * s - in[i] * shift;
      dw[i] += grad[i] * in[i] * s;
    }
  }
}

template <class T>
void rotateTokens(const T* x, const T* cos, const T* sin, T* y, int64_t begin, int64_t end, int64_t heads, int64_t size,
                  int64_t tokenStride, int64_t headStride, T sign) {
  const int64_t half = size / 2;
  for (int64_t token = begin; token < end; ++token) {
    const T* c = cos + token * size;
    const T* s = sin + token * size + half;  // the second half carries the plain sine
    for (int64_t head = 0; head < heads; ++head) {
      const T* in = x + token * tokenStride + head * headStride;
      T* out = y + (token * heads + head) * size;
      for (int64_t i = 0; i < half; ++i) {
        const T a = in[i], b = in[i + half], sine = sign * s[i];
        out[i] = a * c[i] - b * sine;
        out[i + half] = b * c[i] + a * sine;
      }
    }
  }
}

template <class T>
void gateRow(const T* gate, const T* up, T* y, int64_t width) {
  for (int64_t i = 0; i < width; ++i) y[i] = gate[i] / (1 + exponential(-gate[i])) * up[i];
}

// Rows at a stride: gate and up may be two parts of one wider product.
template <class T>
void gateRows(const T* gate, const T* up, T* y, int64_t begin, int64_t end, int64_t width, int64_t gateStride,
              int64_t upStride) {
  for (int64_t row = begin; row < end; ++row)
    gateRow<T>(gate + row * gateStride, up + row * upStride, y + row * width, width);
}

template <class T>
void gateRowsBackward(const T* grad, const T* gate, const T* up, T* dGate, T* dUp, int64_t begin, int64_t end,
                      int64_t width, int64_t gateStride, int64_t upStride, int64_t gradStride) {
  for (int64_t row = begin; row < end; ++row) {
    const T *dy = grad + row * width, *g = gate + row * gateStride, *u = up + row * upStride;
    T *dg = dGate + row * gradStride, *du = dUp + row * gradStride;
    for (int64_t i = 0; i < width; ++i) {
      const T sigmoid = 1 / (1 + exponential(-g[i]));
      const T silu = g[i] * sigmoid;
      du[i] = dy[i] * silu;
      dg[i] = dy[i] * u[i] * (sigmoid + silu * (1 - sigmoid));
    }
  }
}

}  // namespace

}  // namespace visurf
