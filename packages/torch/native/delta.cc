// The gated delta rule (Gated Delta Networks, arXiv 2412.06464): a state S [dk, dv] per value head decays, writes what
// it gets wrong about a token, and is read:
//
//   S' = exp(g) S, S = S' + beta k (v - S'^T k)^T, o = S^T q
//
// Whole rows go in chunks (section 3.3), by libtorch's products on every device: inside a chunk, what all tokens write
// is the solution of a triangular system, so that the state moves once per chunk. The backward pass computes the chunks
// again: their parts are ten times as large as what goes in. One token at a time is a kernel of ours on the CPU.
#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <limits>
#include <tuple>
#include <vector>

#include "levels.h"

namespace visurf {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Tokens that are computed together; their products grow with its square.
constexpr int64_t kChunk = 64;

struct Sizes {
  int64_t rows, tokens, keyHeads, heads, dk, dv;
  int64_t chunk() const { return std::min(kChunk, tokens); }
  int64_t chunks() const { return (tokens + chunk() - 1) / chunk(); }
};

Sizes sizesOf(const at::Tensor& k, const at::Tensor& v) {
  return {k.size(0), k.size(1), k.size(2), v.size(2), k.size(3), v.size(3)};
}

// [N, T, heads, ..] as [N, Hk, heads / Hk, M, C, ..], filled up with zeros: these neither decay nor write.
at::Tensor chunked(const Sizes& s, const at::Tensor& x) {
  const int64_t missing = s.chunks() * s.chunk() - s.tokens, heads = x.size(2);
  std::vector<int64_t> padding(2 * x.dim() - 2, 0),
      shape{s.rows, s.chunks(), s.chunk(), s.keyHeads, heads / s.keyHeads};
  padding.back() = missing;
  std::vector<int64_t> order{0, 3, 4, 1, 2};
  for (int64_t d = 3; d < x.dim(); ++d) {
    shape.push_back(x.size(d));
    order.push_back(d + 2);
  }
  return (missing ? at::constant_pad_nd(x, padding) : x).reshape(shape).permute(order);
}

// [M] of [N Hv, ..]
std::vector<at::Tensor> perChunk(const Sizes& s, const at::Tensor& x) {
  return x.reshape({s.rows * s.heads, s.chunks(), x.size(-2), x.size(-1)}).unbind(1);
}

// q and k [N, T, Hk, dk], v [N, T, Hv, dv], g and beta [N, T, Hv], state [N, Hv, dk, dv]. Returns o [N, T, Hv, dv] and
// the state behind the last token. Decays are masked before they are exponentiated: above the diagonal they would
// overflow, and nothing is divided by one.
variable_list deltaChunks(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& g,
                          const at::Tensor& beta, const at::Tensor& state) {
  const Sizes s = sizesOf(k, v);
  const auto queries = chunked(s, q), keys = chunked(s, k), turned = keys.transpose(-1, -2);
  const auto rate = chunked(s, beta).unsqueeze(-1), decay = chunked(s, g).cumsum(-1);
  const auto later = at::ones({s.chunk(), s.chunk()}, decay.options().dtype(at::kBool)).triu(1);
  const auto between =
      (decay.unsqueeze(-1) - decay.unsqueeze(-2)).masked_fill(later, -std::numeric_limits<double>::infinity()).exp();
  const auto since = decay.exp().unsqueeze(-1), left = decay.narrow(-1, s.chunk() - 1, 1);
  // On and above its diagonal the system is not read: it has ones there.
  const auto system = keys.matmul(turned) * between * rate;
  const auto inverse = at::linalg_solve_triangular(system, at::eye(s.chunk(), system.options()), /*upper=*/false,
                                                   /*left=*/true, /*unitriangular=*/true);
  const auto fresh = perChunk(s, inverse.matmul(chunked(s, v) * rate));
  const auto reading = perChunk(s, inverse.matmul(keys * (rate * since)));
  const auto asked = perChunk(s, queries * since), seen = perChunk(s, queries.matmul(turned) * between);
  const auto kept = perChunk(s, keys * (left - decay).exp().unsqueeze(-1));
  const auto remaining = perChunk(s, left.exp().unsqueeze(-1));

  auto sums = state.reshape({s.rows * s.heads, s.dk, s.dv});
  std::vector<at::Tensor> out;
  for (int64_t i = 0; i < s.chunks(); ++i) {
    const auto news = at::baddbmm(fresh[i], reading[i], sums, 1, -1);
    out.push_back(at::baddbmm(seen[i].bmm(news), asked[i], sums));
    sums = at::baddbmm(sums * remaining[i], kept[i].transpose(1, 2), news);
  }
  const auto all = (out.size() == 1 ? out[0] : at::cat(out, 1)).view({s.rows, s.heads, -1, s.dv});
  return {all.narrow(2, 0, s.tokens).transpose(1, 2), sums.view({s.rows, s.heads, s.dk, s.dv})};
}

struct DeltaRule : torch::autograd::Function<DeltaRule> {
  static variable_list forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const at::Tensor& g, const at::Tensor& beta, const at::Tensor& state) {
    context->save_for_backward({q, k, v, g, beta, state});
    context->set_materialize_grads(false);
    return deltaChunks(q, k, v, g, beta, state);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::AutoGradMode enabled(true);
    variable_list leaves, asked;
    for (size_t i = 0; i < saved.size(); ++i) {
      leaves.push_back(saved[i].detach().set_requires_grad(context->needs_input_grad(i)));
      if (leaves[i].requires_grad()) asked.push_back(leaves[i]);
    }
    const auto outputs = deltaChunks(leaves[0], leaves[1], leaves[2], leaves[3], leaves[4], leaves[5]);
    variable_list reached, given, result(saved.size());
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!gradients[i].defined()) continue;
      reached.push_back(outputs[i]);
      given.push_back(gradients[i]);
    }
    if (reached.empty() || asked.empty()) return result;
    const auto found = torch::autograd::grad(reached, asked, given, /*retain_graph=*/false, /*create_graph=*/false,
                                             /*allow_unused=*/true);
    for (size_t i = 0, at = 0; i < saved.size(); ++i)
      if (leaves[i].requires_grad()) result[i] = found[at++];
    return result;
  }
};

void requireFit(const at::Tensor& k, const at::Tensor& v, const at::Tensor& state) {
  const Sizes s = sizesOf(k, v);
  TORCH_CHECK(v.size(0) == s.rows && v.size(1) == s.tokens && s.tokens > 0 && s.heads % s.keyHeads == 0 &&
                  state.sizes() == at::IntArrayRef({s.rows, s.heads, s.dk, s.dv}),
              "delta_rule: keys ", k.sizes(), ", values ", v.sizes(), " and state ", state.sizes(), " do not fit");
}

std::tuple<at::Tensor, at::Tensor> deltaRule(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                             const at::Tensor& g, const at::Tensor& beta,
                                             const std::optional<at::Tensor>& state) {
  const auto before = state ? *state : at::zeros({k.size(0), v.size(2), k.size(3), v.size(3)}, v.options());
  requireFit(k, v, before);
  const auto result = DeltaRule::apply(q, k, v, g, beta, before);
  return {result[0], result[1]};
}

// mixed [R, C], decay (its logarithm) and beta [R, Hv], gate [R, Hv dv], taps [W, C], norm [dv], tail [R, W - 1, C] and
// sums [R, Hv, dk, dv], which move on. Returns [R, Hv dv].
at::Tensor deltaToken(const at::Tensor& mixed, const at::Tensor& decay, const at::Tensor& beta, const at::Tensor& gate,
                      const at::Tensor& taps, const at::Tensor& norm, const at::Tensor& tail, const at::Tensor& sums,
                      double eps) {
  const int64_t rows = sums.size(0), heads = sums.size(1), dk = sums.size(2), dv = sums.size(3);
  const int64_t channels = taps.size(1), keyHeads = (channels - heads * dv) / (2 * dk);
  TORCH_CHECK(channels == 2 * keyHeads * dk + heads * dv && keyHeads > 0 && heads % keyHeads == 0 &&
                  mixed.sizes() == at::IntArrayRef({rows, channels}) &&
                  tail.sizes() == at::IntArrayRef({rows, taps.size(0) - 1, channels}) &&
                  decay.sizes() == at::IntArrayRef({rows, heads}) && beta.sizes() == decay.sizes() &&
                  gate.sizes() == at::IntArrayRef({rows, heads * dv}) && norm.sizes() == at::IntArrayRef({dv}),
              "delta_token: rows ", mixed.sizes(), " do not fit a state ", sums.sizes(), " behind ", taps.sizes());
  for (const auto* each : {&mixed, &decay, &beta, &gate, &taps, &norm, &tail, &sums})
    TORCH_CHECK(each->is_contiguous() && each->scalar_type() == sums.scalar_type(),
                "delta_token: tensors must be contiguous and of one dtype");
  auto out = at::empty({rows, heads * dv}, sums.options());
  AT_DISPATCH_FLOATING_TYPES(sums.scalar_type(), "delta_token", [&] {
    const Delta<scalar_t> s{heads,
                            keyHeads,
                            dk,
                            dv,
                            taps.size(0),
                            mixed.const_data_ptr<scalar_t>(),
                            taps.const_data_ptr<scalar_t>(),
                            decay.const_data_ptr<scalar_t>(),
                            beta.const_data_ptr<scalar_t>(),
                            norm.const_data_ptr<scalar_t>(),
                            gate.const_data_ptr<scalar_t>(),
                            tail.mutable_data_ptr<scalar_t>(),
                            sums.mutable_data_ptr<scalar_t>(),
                            out.mutable_data_ptr<scalar_t>(),
                            static_cast<scalar_t>(eps)};
    at::parallel_for(0, rows * keyHeads, 1, [&](int64_t begin, int64_t end) {
      std::vector<scalar_t> scratch(s.scratch());
      for (int64_t task = begin; task < end; ++task)
        kernels<scalar_t>().deltaToken(s, task / keyHeads, task % keyHeads, scratch.data());
    });
  });
  return out;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(visurf, library) {
  library.def("delta_rule(Tensor q, Tensor k, Tensor v, Tensor g, Tensor beta, Tensor? state) -> (Tensor, Tensor)",
              deltaRule);
  library.def(
      "delta_token(Tensor mixed, Tensor decay, Tensor beta, Tensor gate, Tensor taps, Tensor norm, Tensor(a!) tail, "
      "Tensor(b!) sums, float eps) -> Tensor",
      deltaToken);
}

}  // namespace visurf
