// Products of small matrices in registers, for kernels that multiply inside a pass of their own.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels.h"

namespace visurf {

// Wider than the registers of an instruction set, vectors live in memory, at a fiftieth of the rate; so none is wider
// than AVX2's.
constexpr int64_t kVectorBytes = 32;

template <class T>
struct Lanes {
  typedef T Vector __attribute__((vector_size(kVectorBytes), aligned(sizeof(T)), may_alias));
  static constexpr int64_t size = kVectorBytes / sizeof(T);
  static constexpr int64_t fill(int64_t count) { return (count + size - 1) / size * size; }
};

// The left factor: element (row, i) lies at data[row * rowStride + i * stride].
template <class T>
struct Left {
  const T* data;
  int64_t rowStride, stride = 1;
};

// R rows and C vectors of columns stay in registers over the whole of `inner`.
template <int R, int C, class T>
VISURF_INLINE void tile(Left<T> a, const T* b, int64_t ldb, T* c, int64_t ldc, int64_t inner, bool add) {
  using Vector = typename Lanes<T>::Vector;
  Vector sums[R][C];
  for (int r = 0; r < R; ++r)
    for (int j = 0; j < C; ++j) sums[r][j] = add ? reinterpret_cast<const Vector*>(c + r * ldc)[j] : Vector{};
  for (int64_t i = 0; i < inner; ++i) {
    const auto* row = reinterpret_cast<const Vector*>(b + i * ldb);
    for (int r = 0; r < R; ++r)
      for (int j = 0; j < C; ++j) sums[r][j] += a.data[r * a.rowStride + i * a.stride] * row[j];
  }
  for (int r = 0; r < R; ++r)
    for (int j = 0; j < C; ++j) reinterpret_cast<Vector*>(c + r * ldc)[j] = sums[r][j];
}

template <int C, class T>
VISURF_INLINE void tileRows(Left<T> a, const T* b, int64_t ldb, T* c, int64_t ldc, int64_t rows, int64_t inner,
                            bool add) {
  const auto from = [&](int64_t row) { return Left<T>{a.data + row * a.rowStride, a.rowStride, a.stride}; };
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) tile<4, C>(from(r), b, ldb, c + r * ldc, ldc, inner, add);
  for (; r + 2 <= rows; r += 2) tile<2, C>(from(r), b, ldb, c + r * ldc, ldc, inner, add);
  for (; r < rows; ++r) tile<1, C>(from(r), b, ldb, c + r * ldc, ldc, inner, add);
}

// c [rows, cols] (+)= a [rows, inner] b [inner, cols]. `panel` holds a last, narrower block of columns, filled up with
// zeros: [inner + rows, lanes].
template <class T>
VISURF_INLINE void multiply(Left<T> a, const T* b, int64_t ldb, T* c, int64_t ldc, int64_t rows, int64_t inner,
                            int64_t cols, bool add, std::vector<T>& panel) {
  constexpr int64_t lanes = Lanes<T>::size;
  int64_t j = 0;
  for (; j + 2 * lanes <= cols; j += 2 * lanes) tileRows<2>(a, b + j, ldb, c + j, ldc, rows, inner, add);
  for (; j + lanes <= cols; j += lanes) tileRows<1>(a, b + j, ldb, c + j, ldc, rows, inner, add);
  if (j == cols) return;
  const size_t bytes = (cols - j) * sizeof(T);
  panel.assign((inner + rows) * lanes, 0);
  T* result = panel.data() + inner * lanes;
  for (int64_t i = 0; i < inner; ++i) std::memcpy(panel.data() + i * lanes, b + i * ldb + j, bytes);
  if (add)
    for (int64_t r = 0; r < rows; ++r) std::memcpy(result + r * lanes, c + r * ldc + j, bytes);
  tileRows<1>(a, panel.data(), lanes, result, lanes, rows, inner, add);
  for (int64_t r = 0; r < rows; ++r) std::memcpy(c + r * ldc + j, result + r * lanes, bytes);
}

}  // namespace visurf
