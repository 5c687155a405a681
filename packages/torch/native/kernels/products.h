// Products of small matrices in registers, for kernels that multiply inside a pass of their own.
#pragma once

#include <bit>

#include "vectors.h"

namespace visurf {

namespace {

// The left factor: element (row, i) lies at data[row * rowStride + i * stride].
template <class T>
struct Left {
  const T* data;
  int64_t rowStride, stride = 1;

  Left from(int64_t row) const { return {data + row * rowStride, rowStride, stride}; }
};

// R rows and C vectors of columns stay in registers over the whole of `inner`.
template <int R, int C, class V, class T>
inline void tile(Left<T> a, const T* b, int64_t ldb, T* c, int64_t ldc, int64_t inner, bool add) {
  V sums[R][C];
  for (int r = 0; r < R; ++r)
    for (int j = 0; j < C; ++j) sums[r][j] = add ? reinterpret_cast<const V*>(c + r * ldc)[j] : V{};
  for (int64_t i = 0; i < inner; ++i) {
    const auto* row = reinterpret_cast<const V*>(b + i * ldb);
    for (int r = 0; r < R; ++r)
      for (int j = 0; j < C; ++j) sums[r][j] += a.data[r * a.rowStride + i * a.stride] * row[j];
  }
  for (int r = 0; r < R; ++r)
    for (int j = 0; j < C; ++j) reinterpret_cast<V*>(c + r * ldc)[j] = sums[r][j];
}

template <int R, int C, class V, class T>
void tileRows(Left<T> a, const T* b, int64_t ldb, T* c, int64_t ldc, int64_t rows, int64_t inner, bool add) {
  int64_t r = 0;
  for (; r + R <= rows; r += R) tile<R, C, V>(a.from(r), b, ldb, c + r * ldc, ldc, inner, add);
  if constexpr (R > 1)
    if (r < rows) tileRows<std::bit_floor(R - 1u), C, V>(a.from(r), b, ldb, c + r * ldc, ldc, rows - r, inner, add);
}

// c [rows, cols] (+)= a [rows, inner] b [inner, cols]. Columns that fill no tile take fewer vectors, then narrower
// ones.
template <class T, int C = kTileVectors, int bytes = kVectorBytes>
void multiply(Left<T> a, const T* b, int64_t ldb, T* c, int64_t ldc, int64_t rows, int64_t inner, int64_t cols,
              bool add) {
  constexpr int64_t width = C * bytes / sizeof(T);
  int64_t j = 0;
  for (; j + width <= cols; j += width)
    tileRows<kTileRows, C, Vector<T, bytes>>(a, b + j, ldb, c + j, ldc, rows, inner, add);
  if (j == cols) return;
  if constexpr (C > 1)
    multiply<T, C / 2, bytes>(a, b + j, ldb, c + j, ldc, rows, inner, cols - j, add);
  else if constexpr (bytes > sizeof(T))
    multiply<T, 1, bytes / 2>(a, b + j, ldb, c + j, ldc, rows, inner, cols - j, add);
}

}  // namespace

}  // namespace visurf
