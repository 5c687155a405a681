// The inner loop of generation: attention of one new token per response, alone or as part of whole layers.
#pragma once

#include <cstring>

#include "products.h"
#include "rows.h"

namespace visurf {

namespace {

// y = scale (x cos + roll(x, size / 2) sin), element by element at `stride`
template <class T>
void rotateHead(const T* x, const T* cos, const T* sin, T* y, int64_t size, int64_t stride, T scale) {
  const int64_t half = size / 2;
  for (int64_t i = 0; i < half; ++i) {
    y[i * stride] = scale * (x[i] * cos[i] + x[i + half] * sin[i]);
    y[(i + half) * stride] = scale * (x[i + half] * cos[i + half] + x[i] * sin[i + half]);
  }
}

// Over whole vectors, the last of which is filled up with what weighs nothing.
template <class T>
void softmax(T* scores, int64_t count) {
  const int64_t filled = wholeVectors<T>(count);
  fillUp(scores, count, -std::numeric_limits<T>::infinity());
  const T factor = 1 / exponentials<T>(scores, filled, 1, largestOf(scores, filled));
  for (int64_t i = 0; i < count; ++i) scores[i] *= factor;
}

template <class T>
void attendToken(const Attention<T>& s, int64_t prompt, int64_t kv, int64_t first, int64_t count, T* scratch) {
  const int64_t groups = s.heads / s.kvHeads, rows = count * groups, length = s.at + 1;
  // Scores against places of the cache that are still empty are computed where that fills a vector, and not read.
  const int64_t own = smaller(fill<T>(length), s.capacity);
  const int64_t width = fill<T>(s.prefix + own);
  T *query = scratch, *result = query + rows * s.size, *scores = result + rows * s.size;
  const int64_t shared = prompt * s.kvHeads + kv;
  const T* prefixKeys = s.prefixKeys + shared * s.size * s.prefix;
  const T* prefixValues = s.prefixValues + shared * s.size * s.prefix;
  const T *cos = s.cos + prompt * s.size, *sin = s.sin + prompt * s.size;
  for (int64_t r = 0; r < count; ++r) {
    const int64_t token = prompt * s.responses + first + r;
    T* keys = s.ownKeys + (shared * s.responses + first + r) * s.size * s.capacity;
    T* values = s.ownValues + (shared * s.responses + first + r) * s.size * s.capacity;
    for (int64_t g = 0; g < groups; ++g)
      rotateHead<T>(s.q + token * s.queryStride + (kv * groups + g) * s.size, cos, sin,
                    query + (r * groups + g) * s.size, s.size, 1, s.scale);
    rotateHead<T>(s.k + token * s.keyStride + kv * s.size, cos, sin, keys + s.at, s.size, s.capacity, 1);
    std::memcpy(values + s.at * s.size, s.v + token * s.valueStride + kv * s.size, s.size * sizeof(T));
    multiply<T>({query + r * groups * s.size, s.size}, keys, s.capacity, scores + r * groups * width + s.prefix, width,
                groups, s.size, own, false);
  }
  multiply<T>({query, s.size}, prefixKeys, s.prefix, scores, width, rows, s.size, s.prefix, false);
  for (int64_t row = 0; row < rows; ++row) {
    T* each = scores + row * width;
    if (s.padding)
      for (int64_t i = 0; i < s.prefix; ++i) each[i] += s.padding[prompt * s.prefix + i];
    softmax<T>(each, s.prefix + length);
  }
  multiply<T>({scores, width}, prefixValues, s.size, result, s.size, rows, s.prefix, s.size, false);
  for (int64_t r = 0; r < count; ++r) {
    const T* values = s.ownValues + (shared * s.responses + first + r) * s.size * s.capacity;
    T* mine = result + r * groups * s.size;
    multiply<T>({scores + r * groups * width + s.prefix, width}, values, s.size, mine, s.size, groups, length, s.size,
                true);
    std::memcpy(s.out + ((prompt * s.responses + first + r) * s.heads + kv * groups) * s.size, mine,
                groups * s.size * sizeof(T));
  }
}

template <class T>
void decodeRows(const Layer<T>& l, int64_t begin, int64_t end, T* scratch) {
  const Attention<T>& s = l.attention;
  const int64_t rows = end - begin, heads = s.heads * s.size;
  T *x = l.x + begin * l.width, *normed = l.normed + begin * l.width, *projected = l.projected + begin * l.joint;
  for (int64_t r = 0; r < rows; ++r) {
    normRow<T>(x + r * l.width, l.inputNorm, normed + r * l.width, l.width, l.eps);
    std::memcpy(projected + r * l.joint, l.bias, l.joint * sizeof(T));
  }
  multiply<T>({normed, l.width}, l.qkv, l.joint, projected, l.joint, rows, l.width, l.joint, true);
  for (int64_t row = begin; row < end;) {
    const int64_t first = row % s.responses;
    const int64_t count = smaller(smaller(together(s), s.responses - first), end - row);
    for (int64_t kv = 0; kv < s.kvHeads; ++kv) attendToken<T>(s, row / s.responses, kv, first, count, scratch);
    row += count;
  }
  multiply<T>({l.attended + begin * heads, heads}, l.output, l.width, x, l.width, rows, heads, l.width, true);
  for (int64_t r = 0; r < rows; ++r) normRow<T>(x + r * l.width, l.postNorm, normed + r * l.width, l.width, l.eps);
  T *gates = l.gates + begin * 2 * l.inner, *gated = l.gated + begin * l.inner;
  multiply<T>({normed, l.width}, l.gateUp, 2 * l.inner, gates, 2 * l.inner, rows, l.width, 2 * l.inner, false);
  for (int64_t r = 0; r < rows; ++r) {
    const T* gate = gates + r * 2 * l.inner;
    gateRow<T>(gate, gate + l.inner, gated + r * l.inner, l.inner);
  }
  multiply<T>({gated, l.inner}, l.down, l.width, x, l.width, rows, l.inner, l.width, true);
}

}  // namespace

}  // namespace visurf
