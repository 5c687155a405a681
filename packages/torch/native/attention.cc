// Attention of packed rows in training, on the CPU: a row holds a prompt and K responses to it, each of which sees the
// prompt and itself. A thread takes a head of a prompt.
#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cmath>
#include <vector>

#include "levels.h"

namespace visurf {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

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
        std::vector<scalar_t> scratch(headScratch<scalar_t>(s, false));
        for (int64_t task = begin; task < end; ++task) {
          const int64_t b = task / s.heads, h = task % s.heads;
          kernels<scalar_t>().attendHead(s, headOf<scalar_t>(s, q, k, v, lengths, b, h), scratch.data(),
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
        std::vector<scalar_t> scratch(headScratch<scalar_t>(s, true));
        for (int64_t task = begin; task < end; ++task) {
          const int64_t b = task / s.heads, h = task % s.heads;
          const int64_t asked = b * s.asked() * width + h * s.size, all = b * s.places() * width + h * s.size;
          kernels<scalar_t>().attendHeadBackward(s, headOf<scalar_t>(s, q, k, v, lengths, b, h), scratch.data(),
                                                 y + asked, sums + task * s.asked(), dy + asked, toQ + asked, toK + all,
                                                 toV + all);
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
