// Attention of packed rows in training, on the CPU: a row holds a prompt and K responses to it, each of which sees the
// prompt and itself. Scores live block by block in the cache and are computed again in the backward pass; memory holds
// one number per query and head (Dao et al., arXiv 2205.14135, with the shared prefix of arXiv 2506.05433).
#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels.h"
#include "products.h"

namespace visurf {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// A row is [L prompt places | K responses of T places]; queries are asked of its places from `from` on.
struct Layout {
  int64_t heads, kvHeads, size, prefix, responses, tokens, from;
  int64_t places() const { return prefix + responses * tokens; }
  int64_t asked() const { return places() - from; }
};

// One prompt and one head. Strides are from place to place.
template <class T>
struct Head {
  const T *q, *k, *v;
  int64_t qStride, kStride, vStride, outStride;
  int64_t length;  // of the prompt, without its padding
  T scale;
};

// Queries that are computed together, and the keys they see: `shared` of the prompt and `own` of their response.
struct Block {
  int64_t query, count;  // among those asked
  int64_t shared, own, ownPlace;
  int64_t seen;  // by the first query, of its own response or, in a prompt, of the prompt; by the next one more
};

constexpr int64_t kRows = 32;

std::vector<Block> blocksOf(const Layout& s, int64_t length) {
  std::vector<Block> blocks;
  for (int64_t i = s.from; i < s.prefix; i += kRows) {
    const int64_t count = std::min(kRows, s.prefix - i);
    blocks.push_back({i - s.from, count, i + count, 0, 0, i + 1});
  }
  for (int64_t k = 0; k < s.responses; ++k) {
    const int64_t first = s.prefix + k * s.tokens;
    for (int64_t t = 0; t < s.tokens; t += kRows) {
      const int64_t count = std::min(kRows, s.tokens - t);
      blocks.push_back({first - s.from + t, count, length, t + count, first, t + 1});
    }
  }
  return blocks;
}

// [places, size] at `stride` to [size, width], width >= places: what is beyond stays as it is.
template <class T>
VISURF_INLINE void transpose(const T* x, int64_t stride, int64_t places, int64_t size, T* y, int64_t width) {
  for (int64_t p = 0; p < places; ++p)
    for (int64_t i = 0; i < size; ++i) y[i * width + p] = x[p * stride + i];
}

// Memory of one thread.
template <class T>
struct Scratch {
  int64_t prefixWidth, ownWidth, width;
  std::vector<T> keys, values, ownKeys, ownValues, weights, gradients, panel;

  explicit Scratch(const Layout& s, bool backward)
      : prefixWidth(Lanes<T>::fill(s.prefix)), ownWidth(Lanes<T>::fill(s.tokens)), width(prefixWidth + ownWidth) {
    keys.resize(s.size * prefixWidth);
    ownKeys.resize(s.size * ownWidth);
    weights.resize(kRows * width);
    if (!backward) return;
    values.resize(keys.size());
    ownValues.resize(ownKeys.size());
    gradients.resize(weights.size());
  }
};

// c [rows, shared | own] = a [rows, size] times both parts of a transposed matrix
template <class T>
VISURF_INLINE void againstKeys(Left<T> a, const Block& block, int64_t size, const T* shared, const T* own,
                               Scratch<T>& m, T* c) {
  multiply<T>(a, shared, m.prefixWidth, c, m.width, block.count, size, Lanes<T>::fill(block.shared), false, m.panel);
  if (block.own > 0)
    multiply<T>(a, own, m.ownWidth, c + m.prefixWidth, m.width, block.count, size, Lanes<T>::fill(block.own), false,
                m.panel);
}

// c [rows, size] = weights [rows, shared | own] times the rows of x [places, size]
template <class T>
VISURF_INLINE void againstRows(const T* weights, const Block& block, int64_t size, const T* x, int64_t stride,
                               Scratch<T>& m, T* c, int64_t ldc) {
  multiply<T>({weights, m.width}, x, stride, c, ldc, block.count, block.shared, size, false, m.panel);
  if (block.own > 0)
    multiply<T>({weights + m.prefixWidth, m.width}, x + block.ownPlace * stride, stride, c, ldc, block.count, block.own,
                size, true, m.panel);
}

// x [places, size] += weights^T times y [rows, size]
template <class T>
VISURF_INLINE void addTransposed(const T* weights, const Block& block, int64_t size, const T* y, int64_t yStride,
                                 Scratch<T>& m, T* x, int64_t stride) {
  multiply<T>({weights, 1, m.width}, y, yStride, x, stride, block.shared, block.count, size, true, m.panel);
  if (block.own > 0)
    multiply<T>({weights + m.prefixWidth, 1, m.width}, y, yStride, x + block.ownPlace * stride, stride, block.own,
                block.count, size, true, m.panel);
}

// A row of scores has two parts, keys of the prompt and of the response: columns [first, seen) count, those up to `end`
// do not.
struct Part {
  int64_t first, seen, end;
};

template <class T>
VISURF_INLINE void partsOf(const Block& block, int64_t r, const Scratch<T>& m, Part (&parts)[2]) {
  const bool ofPrompt = block.own == 0;
  parts[0] = {0, ofPrompt ? block.seen + r : block.shared, Lanes<T>::fill(block.shared)};
  parts[1] = {m.prefixWidth, m.prefixWidth + (ofPrompt ? 0 : block.seen + r),
              m.prefixWidth + Lanes<T>::fill(block.own)};
}

template <class T>
VISURF_KERNEL void attendHead(const Layout& s, const Head<T>& head, Scratch<T>& m, T* out, T* logSums) {
  transpose<T>(head.k, head.kStride, s.prefix, s.size, m.keys.data(), m.prefixWidth);
  int64_t transposed = 0;
  for (const Block& block : blocksOf(s, head.length)) {
    if (block.own > 0 && block.ownPlace != transposed) {
      transposed = block.ownPlace;
      transpose<T>(head.k + transposed * head.kStride, head.kStride, s.tokens, s.size, m.ownKeys.data(), m.ownWidth);
    }
    T* weights = m.weights.data();
    againstKeys<T>({head.q + block.query * head.qStride, head.qStride}, block, s.size, m.keys.data(), m.ownKeys.data(),
                   m, weights);
    for (int64_t r = 0; r < block.count; ++r) {
      T* row = weights + r * m.width;
      T largest = -std::numeric_limits<T>::infinity(), total = 0;
      Part parts[2];
      partsOf(block, r, m, parts);
      for (const auto& part : parts)
        for (int64_t i = part.first; i < part.seen; ++i) largest = row[i] > largest ? row[i] : largest;
      for (const auto& part : parts) {
        for (int64_t i = part.first; i < part.seen; ++i) {
          row[i] = exponential(head.scale * (row[i] - largest));
          total += row[i];
        }
        for (int64_t i = part.seen; i < part.end; ++i) row[i] = 0;
      }
      const T factor = 1 / total;
      for (const auto& part : parts)
        for (int64_t i = part.first; i < part.seen; ++i) row[i] *= factor;
      logSums[block.query + r] = head.scale * largest + std::log(total);
    }
    againstRows<T>(weights, block, s.size, head.v, head.vStride, m, out + block.query * head.outStride, head.outStride);
  }
}

// Gradients of one head's queries, keys and values; the latter two are added to.
template <class T>
VISURF_KERNEL void attendHeadBackward(const Layout& s, const Head<T>& head, Scratch<T>& m, const T* out,
                                      const T* logSums, const T* grad, T* dq, T* dk, T* dv) {
  transpose<T>(head.k, head.kStride, s.prefix, s.size, m.keys.data(), m.prefixWidth);
  transpose<T>(head.v, head.vStride, s.prefix, s.size, m.values.data(), m.prefixWidth);
  const int64_t stride = head.outStride;
  int64_t transposed = 0;
  for (const Block& block : blocksOf(s, head.length)) {
    if (block.own > 0 && block.ownPlace != transposed) {
      transposed = block.ownPlace;
      transpose<T>(head.k + transposed * head.kStride, head.kStride, s.tokens, s.size, m.ownKeys.data(), m.ownWidth);
      transpose<T>(head.v + transposed * head.vStride, head.vStride, s.tokens, s.size, m.ownValues.data(), m.ownWidth);
    }
    T *weights = m.weights.data(), *gradients = m.gradients.data();
    const T *query = head.q + block.query * head.qStride, *dy = grad + block.query * stride;
    againstKeys<T>({query, head.qStride}, block, s.size, m.keys.data(), m.ownKeys.data(), m, weights);
    againstKeys<T>({dy, stride}, block, s.size, m.values.data(), m.ownValues.data(), m, gradients);
    for (int64_t r = 0; r < block.count; ++r) {
      T *w = weights + r * m.width, *g = gradients + r * m.width;
      const T *y = out + (block.query + r) * stride, *d = dy + r * stride;
      const T logSum = logSums[block.query + r];
      T dot = 0;
      for (int64_t i = 0; i < s.size; ++i) dot += y[i] * d[i];
      Part parts[2];
      partsOf(block, r, m, parts);
      for (const auto& part : parts) {
        for (int64_t i = part.first; i < part.seen; ++i) {
          w[i] = exponential(head.scale * w[i] - logSum);
          g[i] = head.scale * w[i] * (g[i] - dot);
        }
        for (int64_t i = part.seen; i < part.end; ++i) w[i] = g[i] = 0;
      }
    }
    againstRows<T>(gradients, block, s.size, head.k, head.kStride, m, dq + block.query * stride, stride);
    addTransposed<T>(gradients, block, s.size, query, head.qStride, m, dk, stride);
    addTransposed<T>(weights, block, s.size, dy, stride, m, dv, stride);
  }
}

// The tensor itself where places lie at one stride and heads side by side, else a contiguous copy.
at::Tensor asPlaces(const at::Tensor& x) {
  return x.stride(3) == 1 && x.stride(2) == x.size(3) && x.stride(0) == x.stride(1) * x.size(1) ? x : x.contiguous();
}

template <class T>
Head<T> headOf(const Layout& s, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, at::IntArrayRef lengths,
               int64_t b, int64_t h) {
  const int64_t kv = h / (s.heads / s.kvHeads);
  return {q.const_data_ptr<T>() + b * q.stride(0) + h * s.size,
          k.const_data_ptr<T>() + b * k.stride(0) + kv * s.size,
          v.const_data_ptr<T>() + b * v.stride(0) + kv * s.size,
          q.stride(1),
          k.stride(1),
          v.stride(1),
          s.heads * s.size,
          lengths[b],
          static_cast<T>(1 / std::sqrt(static_cast<double>(s.size)))};
}

Layout layoutOf(const at::Tensor& q, const at::Tensor& k, int64_t responses, int64_t tokens) {
  const int64_t places = k.size(1);
  return {q.size(2), k.size(2), q.size(3), places - responses * tokens, responses, tokens, places - q.size(1)};
}

struct PackedAttention : torch::autograd::Function<PackedAttention> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& query, const at::Tensor& key,
                            const at::Tensor& value, at::IntArrayRef lengths, int64_t responses, int64_t tokens) {
    const auto q = asPlaces(query), k = asPlaces(key), v = asPlaces(value);
    const Layout s = layoutOf(q, k, responses, tokens);
    const int64_t batch = q.size(0);
    auto out = at::empty({batch, s.asked(), s.heads * s.size}, q.options());
    auto logSums = at::empty({batch, s.heads, s.asked()}, q.options());
    AT_DISPATCH_FLOATING_TYPES(q.scalar_type(), "packed_attention", [&] {
      auto* y = out.mutable_data_ptr<scalar_t>();
      auto* sums = logSums.mutable_data_ptr<scalar_t>();
      at::parallel_for(0, batch * s.heads, 1, [&](int64_t begin, int64_t end) {
        Scratch<scalar_t> memory(s, false);
        for (int64_t task = begin; task < end; ++task) {
          const int64_t b = task / s.heads, h = task % s.heads;
          attendHead<scalar_t>(s, headOf<scalar_t>(s, q, k, v, lengths, b, h), memory,
                               y + b * s.asked() * s.heads * s.size + h * s.size, sums + task * s.asked());
        }
      });
    });
    context->save_for_backward({q, k, v, out, logSums});
    context->saved_data["lengths"] = lengths;
    context->saved_data["responses"] = responses;
    context->saved_data["tokens"] = tokens;
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3], &logSums = saved[4];
    const auto lengths = context->saved_data["lengths"].toIntVector();
    const Layout s = layoutOf(q, k, context->saved_data["responses"].toInt(), context->saved_data["tokens"].toInt());
    const auto grad = gradients[0].contiguous();
    const int64_t batch = q.size(0), width = s.heads * s.size;
    auto dq = at::empty({batch, s.asked(), s.heads, s.size}, q.options());
    // Of every query head, so that threads share nothing; heads that read the same keys are added up below.
    auto dk = at::zeros({batch, s.places(), s.heads, s.size}, q.options()), dv = at::zeros_like(dk);
    AT_DISPATCH_FLOATING_TYPES(q.scalar_type(), "packed_attention_backward", [&] {
      const auto *y = out.const_data_ptr<scalar_t>(), *sums = logSums.const_data_ptr<scalar_t>(),
                 *dy = grad.const_data_ptr<scalar_t>();
      auto *toQ = dq.mutable_data_ptr<scalar_t>(), *toK = dk.mutable_data_ptr<scalar_t>(),
           *toV = dv.mutable_data_ptr<scalar_t>();
      at::parallel_for(0, batch * s.heads, 1, [&](int64_t begin, int64_t end) {
        Scratch<scalar_t> memory(s, true);
        for (int64_t task = begin; task < end; ++task) {
          const int64_t b = task / s.heads, h = task % s.heads;
          const int64_t asked = b * s.asked() * width + h * s.size, all = b * s.places() * width + h * s.size;
          attendHeadBackward<scalar_t>(s, headOf<scalar_t>(s, q, k, v, lengths, b, h), memory, y + asked,
                                       sums + task * s.asked(), dy + asked, toQ + asked, toK + all, toV + all);
        }
      });
    });
    const auto perKey = [&](const at::Tensor& x) {
      if (s.heads == s.kvHeads) return x;
      return x.view({batch, s.places(), s.kvHeads, s.heads / s.kvHeads, s.size}).sum(3);
    };
    return {dq, perKey(dk), perKey(dv), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

// q [B, S - from, H, d], k and v [B, S, KV, d], S = L + K T: rows of a prompt, of which the first lengths[b] places are
// not padding, and its responses. Returns [B, S - from, H * d].
at::Tensor packedAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, at::IntArrayRef lengths,
                           int64_t responses, int64_t tokens) {
  const int64_t prefix = k.size(1) - responses * tokens;
  TORCH_CHECK(static_cast<int64_t>(lengths.size()) == q.size(0), "packed_attention: one length per prompt");
  for (const int64_t length : lengths)
    TORCH_CHECK(0 < length && length <= prefix, "packed_attention: a prompt of ", length, " of ", prefix, " places");
  TORCH_CHECK(k.size(1) - q.size(1) < prefix && k.size(1) >= q.size(1) && q.size(2) % k.size(2) == 0,
              "packed_attention: queries ", q.sizes(), " do not fit keys ", k.sizes());
  TORCH_CHECK(k.sizes() == v.sizes() && q.scalar_type() == k.scalar_type() && k.scalar_type() == v.scalar_type(),
              "packed_attention: keys ", k.sizes(), " and values ", v.sizes(), " must agree in shape and dtype");
  return PackedAttention::apply(q, k, v, lengths, responses, tokens);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(visurf, library) {
  library.def("packed_attention(Tensor q, Tensor k, Tensor v, int[] lengths, int responses, int tokens) -> Tensor",
              packedAttention);
}

}  // namespace visurf
