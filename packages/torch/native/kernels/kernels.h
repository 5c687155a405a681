// What the kernels compute on, and the table of them. Plain C++ that knows no libtorch: operators hand out the work to
// threads, kernels do one thread's part.
#pragma once

#include <cstdint>

// Headers are compiled once per instruction set: what they define must become part of its callers, lest the linker keep
// one definition for all.
#define VISURF_INLINE __attribute__((always_inline)) inline

namespace visurf {

// Rows of scratch memory are whole cache lines, which suit the vectors of every instruction set.
template <class T>
VISURF_INLINE constexpr int64_t fill(int64_t count) {
  constexpr int64_t line = 64 / sizeof(T);
  return (count + line - 1) / line * line;
}

// ---- Attention in training: a row is [L prompt places | K responses of T places]; queries are asked of its places
// from `from` on.

struct Layout {
  int64_t heads, kvHeads, size, prefix, responses, tokens, from;
  VISURF_INLINE int64_t places() const { return prefix + responses * tokens; }
  VISURF_INLINE int64_t asked() const { return places() - from; }
};

// One prompt and one head. Strides are from place to place.
template <class T>
struct Head {
  const T *q, *k, *v;
  int64_t qStride, kStride, vStride, outStride;
  int64_t length;  // of the prompt, without its padding
  T scale;
};

constexpr int64_t kQueries = 48;  // that are computed together

// Numbers of scratch memory that a head needs, zero at first.
template <class T>
VISURF_INLINE int64_t headScratch(const Layout& s, bool backward) {
  const int64_t width = fill<T>(s.prefix) + fill<T>(s.tokens);
  return (backward ? 2 : 1) * (s.size + kQueries) * width;
}

// ---- Decoding: one new token of K responses per prompt attends to the prompt's keys, which they share, and to its own

template <class T>
struct Attention {
  int64_t responses, heads, kvHeads, size, prefix, capacity, at;
  const T *q, *k, *v, *cos, *sin, *prefixKeys, *prefixValues, *padding;
  T *ownKeys, *ownValues, *out;
  int64_t queryStride, keyStride, valueStride;  // from token to token
  T scale;
};

// Responses of a prompt that go together, as many as make eight rows: they read the same keys.
template <class T>
VISURF_INLINE int64_t together(const Attention<T>& s) {
  const int64_t most = 8 * s.kvHeads / s.heads;
  return most > 1 ? most : 1;
}

template <class T>
VISURF_INLINE int64_t decodingScratch(const Attention<T>& s) {
  return together(s) * (s.heads / s.kvHeads) * (2 * s.size + fill<T>(s.prefix + fill<T>(s.at + 1)));
}

// A whole layer. Matrices are [in, out]. Scratch has as many rows as there are tokens.
template <class T>
struct Layer {
  Attention<T> attention;
  int64_t width, joint, inner;
  const T *inputNorm, *qkv, *bias, *output, *postNorm, *gateUp, *down;
  T *x, *normed, *projected, *attended, *gates, *gated;
  T eps;
};

// ---- Decoding with a recurrent state: one new token of every row, for heads of the gated delta rule

template <class T>
struct Delta {
  int64_t heads, keyHeads, keySize, valueSize, taps;
  // [rows, channels], [taps, channels], [rows, heads], [value size], [rows, heads * value size]
  const T *mixed, *weights, *decay, *beta, *norm, *gate;
  // [rows, taps - 1, channels] and [rows, heads, key size, value size], which move on; [rows, heads * value size]
  T *tail, *sums, *out;
  T eps;
  VISURF_INLINE int64_t channels() const { return 2 * keyHeads * keySize + heads * valueSize; }
  VISURF_INLINE int64_t scratch() const { return 2 * keySize + (heads / keyHeads + 1) * valueSize; }
};

// ---- Sampling

constexpr int64_t kMassBlock = 256;  // weights that have a sum of their own

// ---- Dropout

constexpr uint64_t kMixer = 0xdaba0b6eb09322e3;

// The kernels of one instruction set. Rows, tokens and the like are those of [begin, end).
template <class T>
struct Kernels {
  // y = x / sqrt(mean(x^2) + eps) * w; `scale` keeps the factors of x
  void (*normRows)(const T* x, const T* w, T* y, T* scale, int64_t begin, int64_t end, int64_t width, T eps);
  // dw is added to
  void (*normRowsBackward)(const T* g, const T* x, const T* w, const T* scale, T* dx, T* dw, int64_t begin, int64_t end,
                           int64_t width);
  // y1 = x1 cos - sign x2 sin, y2 = x2 cos + sign x1 sin for the halves of each head
  void (*rotateTokens)(const T* x, const T* cos, const T* sin, T* y, int64_t begin, int64_t end, int64_t heads,
                       int64_t size, int64_t tokenStride, int64_t headStride, T sign);
  // y = silu(gate) up
  void (*gateRows)(const T* gate, const T* up, T* y, int64_t begin, int64_t end, int64_t width, int64_t gateStride,
                   int64_t upStride);
  void (*gateRowsBackward)(const T* grad, const T* gate, const T* up, T* dGate, T* dUp, int64_t begin, int64_t end,
                           int64_t width, int64_t gateStride, int64_t upStride, int64_t gradStride);
  // y = x where a draw is at least `least`, else 0; a hash of key + gamma (column / 4 + 1) is four draws of 16 bits
  void (*dropRows)(const T* x, const int64_t* keys, T* y, int64_t begin, int64_t end, int64_t width, int64_t gamma,
                   int16_t least);
  void (*attendHead)(const Layout& s, const Head<T>& head, T* scratch, T* out, T* logSums);
  // dk and dv are added to
  void (*attendHeadBackward)(const Layout& s, const Head<T>& head, T* scratch, const T* out, const T* logSums,
                             const T* grad, T* dq, T* dk, T* dv);
  // Responses [first, first + count) of one prompt, for one key head and the query heads that share it.
  void (*attendToken)(const Attention<T>& s, int64_t prompt, int64_t kv, int64_t first, int64_t count, T* scratch);
  // x += output(attention(norm(x))), x += down(swiglu(norm(x)))
  void (*decodeRows)(const Layer<T>& l, int64_t begin, int64_t end, T* scratch);
  // One key head of a row, and the value heads that it serves: from what the convolution reads to the gated norm.
  void (*deltaToken)(const Delta<T>& s, int64_t row, int64_t head, T* scratch);
  // Inverse transform sampling from softmax((logits + forbidden) / temperature): the first token whose cumulative
  // probability exceeds the noise; logProb is under softmax(logits). `weights` [size], `masses` [size / kMassBlock +
  // 1].
  int64_t (*sampleRow)(const T* logits, const T* forbidden, T temperature, double noise, int64_t size, T* weights,
                       double* masses, double* logProb);
};

struct Level {
  const char* name;  // as libtorch has it
  Kernels<float> single;
  Kernels<double> twice;
};

}  // namespace visurf
