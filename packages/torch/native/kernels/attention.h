// Attention of packed rows in training. Scores live block by block in the cache and are computed again in the backward
// pass; memory holds one number per query and head (Dao et al., arXiv 2205.14135, with the shared prefix of arXiv
// 2506.05433).
#pragma once

#include <limits>

#include "products.h"

namespace visurf {

namespace {

// Queries that are computed together, and the keys they see: `shared` of the prompt and `own` of their response.
struct Block {
  int64_t query, count;  // among those asked
  int64_t shared, own, ownPlace;
  int64_t seen;  // by the first query, of its own response or, in a prompt, of the prompt; by the next one more
};

template <class Body>
inline void forEachBlock(const Layout& s, int64_t length, Body&& body) {
  for (int64_t i = s.from; i < s.prefix; i += kQueries) {
    const int64_t count = smaller(kQueries, s.prefix - i);
    body(Block{i - s.from, count, i + count, 0, 0, i + 1});
  }
  for (int64_t k = 0; k < s.responses; ++k) {
    const int64_t first = s.prefix + k * s.tokens;
    for (int64_t t = 0; t < s.tokens; t += kQueries) {
      const int64_t count = smaller(kQueries, s.tokens - t);
      body(Block{first - s.from + t, count, length, t + count, first, t + 1});
    }
  }
}

// A matrix [size, places] of the prompt's and one response's keys or values, each at its width.
template <class T>
struct Transposed {
  T *shared, *own;
  int64_t ownPlace = 0;

  void fillShared(const Layout& s, const T* x, int64_t stride) { write(x, stride, s.prefix, s.size, shared); }
  void fillOwn(const Layout& s, const T* x, int64_t stride, const Block& block) {
    if (block.own == 0 || block.ownPlace == ownPlace) return;
    ownPlace = block.ownPlace;
    write(x + ownPlace * stride, stride, s.tokens, s.size, own);
  }

 private:
  // Lines of the result are filled one after the other.
  static void write(const T* x, int64_t stride, int64_t places, int64_t size, T* y) {
    constexpr int64_t line = fill<T>(1);
    const int64_t width = fill<T>(places);
    for (int64_t p = 0; p < places; p += line) {
      const int64_t count = smaller(line, places - p);
      for (int64_t i = 0; i < size; ++i)
        for (int64_t j = 0; j < count; ++j) y[i * width + p + j] = x[(p + j) * stride + i];
    }
  }
};

// Memory of one thread.
template <class T>
struct Scratch {
  int64_t prefixWidth, ownWidth, width;
  Transposed<T> keys, values;
  T *weights, *gradients;

  Scratch(const Layout& s, T* free) : prefixWidth(fill<T>(s.prefix)), ownWidth(fill<T>(s.tokens)) {
    width = prefixWidth + ownWidth;
    const int64_t matrix = s.size * width, block = kQueries * width;
    keys = {free, free + s.size * prefixWidth};
    weights = free + matrix;
    // In the backward pass alone.
    values = {weights + block, weights + block + s.size * prefixWidth};
    gradients = weights + block + matrix;
  }
};

// Rows of scores hold the prompt's keys, and from the next whole vector on the response's.
template <class T>
inline int64_t ownColumn(const Block& block) {
  return wholeVectors<T>(block.shared);
}

// c [rows, shared | own] = a [rows, size] times both parts of a transposed matrix
template <class T>
void againstKeys(Left<T> a, const Block& block, int64_t size, const Transposed<T>& x, const Scratch<T>& m, T* c) {
  multiply<T>(a, x.shared, m.prefixWidth, c, m.width, block.count, size, wholeVectors<T>(block.shared), false);
  if (block.own > 0)
    multiply<T>(a, x.own, m.ownWidth, c + ownColumn<T>(block), m.width, block.count, size, wholeVectors<T>(block.own),
                false);
}

// c [rows, size] = weights [rows, shared | own] times the rows of x [places, size]
template <class T>
void againstRows(const T* weights, const Block& block, int64_t size, const T* x, int64_t stride, const Scratch<T>& m,
                 T* c, int64_t ldc) {
  multiply<T>({weights, m.width}, x, stride, c, ldc, block.count, block.shared, size, false);
  if (block.own > 0)
    multiply<T>({weights + ownColumn<T>(block), m.width}, x + block.ownPlace * stride, stride, c, ldc, block.count,
                block.own, size, true);
}

// x [places, size] += weights^T times y [rows, size]
template <class T>
void addTransposed(const T* weights, const Block& block, int64_t size, const T* y, int64_t yStride, const Scratch<T>& m,
                   T* x, int64_t stride) {
  multiply<T>({weights, 1, m.width}, y, yStride, x, stride, block.shared, block.count, size, true);
  if (block.own > 0)
    multiply<T>({weights + ownColumn<T>(block), 1, m.width}, y, yStride, x + block.ownPlace * stride, stride, block.own,
                block.count, size, true);
}

// What one query sees: columns [0, shared) and [ownColumn, ownColumn + own). Loops run to `filled`, so that none has
// an end of its own for what fills no vector; later products read to `end`.
template <class T>
struct Row {
  int64_t shared, ownColumn, own, filled, end;

  Row(const Block& block, int64_t r) {
    const bool ofPrompt = block.own == 0;
    shared = ofPrompt ? block.seen + r : block.shared;
    ownColumn = wholeVectors<T>(shared);
    own = ofPrompt ? 0 : block.seen + r;
    filled = ownColumn + wholeVectors<T>(own);
    end = wholeVectors<T>(block.shared) + wholeVectors<T>(block.own);
  }

  // What is not seen, up to `to`, becomes `value`.
  void hide(T* row, int64_t to, T value) const {
    using V = Vector<T, kVectorBytes>;
    fillUp(row, shared, value);
    if (own > 0) fillUp(row + ownColumn, own, value);
    for (auto* next = reinterpret_cast<V*>(row + filled); next < reinterpret_cast<V*>(row + to); ++next)
      *next = V{} + value;
  }
};

template <class T>
void attendHead(const Layout& s, const Head<T>& head, T* scratch, T* out, T* logSums) {
  Scratch<T> m(s, scratch);
  m.keys.fillShared(s, head.k, head.kStride);
  forEachBlock(s, head.length, [&](const Block& block) {
    T factors[kQueries];
    m.keys.fillOwn(s, head.k, head.kStride, block);
    againstKeys<T>({head.q + block.query * head.qStride, head.qStride}, block, s.size, m.keys, m, m.weights);
    for (int64_t r = 0; r < block.count; ++r) {
      T* row = m.weights + r * m.width;
      const Row<T> seen(block, r);
      seen.hide(row, seen.filled, -std::numeric_limits<T>::infinity());
      const T largest = largestOf(row, seen.filled);
      const T total = exponentials(row, seen.filled, head.scale, largest);
      seen.hide(row, seen.end, 0);
      factors[r] = 1 / total;
      logSums[block.query + r] = head.scale * largest + std::log(total);
    }
    T* y = out + block.query * head.outStride;
    againstRows<T>(m.weights, block, s.size, head.v, head.vStride, m, y, head.outStride);
    for (int64_t r = 0; r < block.count; ++r)
      for (int64_t i = 0; i < s.size; ++i) y[r * head.outStride + i] *= factors[r];
  });
}

// Gradients of one head's queries, keys and values; the latter two are added to.
template <class T>
void attendHeadBackward(const Layout& s, const Head<T>& head, T* scratch, const T* out, const T* logSums, const T* grad,
                        T* dq, T* dk, T* dv) {
  Scratch<T> m(s, scratch);
  m.keys.fillShared(s, head.k, head.kStride);
  m.values.fillShared(s, head.v, head.vStride);
  const int64_t stride = head.outStride;
  forEachBlock(s, head.length, [&](const Block& block) {
    m.keys.fillOwn(s, head.k, head.kStride, block);
    m.values.fillOwn(s, head.v, head.vStride, block);
    const T *query = head.q + block.query * head.qStride, *dy = grad + block.query * stride;
    againstKeys<T>({query, head.qStride}, block, s.size, m.keys, m, m.weights);
    againstKeys<T>({dy, stride}, block, s.size, m.values, m, m.gradients);
    for (int64_t r = 0; r < block.count; ++r) {
      T *w = m.weights + r * m.width, *g = m.gradients + r * m.width;
      const T *y = out + (block.query + r) * stride, *d = dy + r * stride;
      const T logSum = logSums[block.query + r];
      T dot = 0;
      for (int64_t i = 0; i < s.size; ++i) dot += y[i] * d[i];
      const Row<T> seen(block, r);
      for (int64_t i = 0; i < seen.filled; ++i) {
        w[i] = exponential(head.scale * w[i] - logSum);
        g[i] = head.scale * w[i] * (g[i] - dot);
      }
      seen.hide(w, seen.end, 0);
      seen.hide(g, seen.end, 0);
    }
    againstRows<T>(m.gradients, block, s.size, head.k, head.kStride, m, dq + block.query * stride, stride);
    addTransposed<T>(m.gradients, block, s.size, query, head.qStride, m, dk, stride);
    addTransposed<T>(m.weights, block, s.size, dy, stride, m, dv, stride);
  });
}

}  // namespace

}  // namespace visurf
