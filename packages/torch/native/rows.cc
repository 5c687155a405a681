// Operators that libtorch has only as chains of others on the CPU: each is one pass over memory here, forward and
// backward. They live in the dispatcher as visurf::*, so that `call` reaches them like any other.
#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cmath>

#include "levels.h"

namespace visurf {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, const at::Tensor& weight, double eps) {
    const auto x = input.contiguous();
    const int64_t width = x.size(-1);
    const int64_t rows = x.numel() / width;
    auto y = at::empty_like(x);
    auto scale = at::empty({rows}, x.options());
    AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "rms_norm", [&] {
      const auto* in = x.const_data_ptr<scalar_t>();
      const auto* w = weight.const_data_ptr<scalar_t>();
      auto* out = y.mutable_data_ptr<scalar_t>();
      auto* s = scale.mutable_data_ptr<scalar_t>();
      at::parallel_for(0, rows, grainRows(width), [&](int64_t begin, int64_t end) {
        kernels<scalar_t>().normRows(in, w, out, s, begin, end, width, static_cast<scalar_t>(eps));
      });
    });
    context->save_for_backward({x, weight, scale});
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1], &scale = saved[2];
    const auto grad = gradients[0].contiguous();
    const int64_t width = x.size(-1);
    const int64_t rows = x.numel() / width;
    auto dx = at::empty_like(x);
    // One partial sum per block of rows; blocks do not depend on the number of threads, so neither does the result.
    const int64_t block = std::max<int64_t>(grainRows(width), (rows + 31) / 32);
    const int64_t blocks = (rows + block - 1) / block;
    auto partial = at::zeros({blocks, width}, x.options());
    AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "rms_norm_backward", [&] {
      const auto* g = grad.const_data_ptr<scalar_t>();
      const auto* in = x.const_data_ptr<scalar_t>();
      const auto* w = weight.const_data_ptr<scalar_t>();
      const auto* s = scale.const_data_ptr<scalar_t>();
      auto* out = dx.mutable_data_ptr<scalar_t>();
      auto* dw = partial.mutable_data_ptr<scalar_t>();
      at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t b = begin; b < end; ++b)
          kernels<scalar_t>().normRowsBackward(g, in, w, s, out, dw + b * width, b * block,
                                               std::min(rows, (b + 1) * block), width);
      });
    });
    return {dx, partial.sum(0), at::Tensor()};
  }
};

// x [.., heads, size] with tokens at a constant stride; cos and sin [.., 1, size], contiguous
at::Tensor rotateImpl(const at::Tensor& input, const at::Tensor& cos, const at::Tensor& sin, double sign) {
  const int64_t heads = input.size(-2), size = input.size(-1);
  const int64_t tokens = input.numel() / (heads * size);
  TORCH_CHECK(
      cos.numel() == tokens * size && sin.numel() == tokens * size && cos.is_contiguous() && sin.is_contiguous(),
      "rotate: cos and sin must hold one row per token, ", tokens, " x ", size, ", got ", cos.sizes());
  auto x = input;
  // Leading dimensions must collapse into one stride of tokens.
  for (int64_t d = 0; d + 3 < x.dim(); ++d)
    if (x.stride(d) != x.stride(d + 1) * x.size(d + 1)) x = x.contiguous();
  if (x.stride(-1) != 1) x = x.contiguous();
  auto y = at::empty(input.sizes(), input.options());
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "rotate", [&] {
    const auto* in = x.const_data_ptr<scalar_t>();
    const auto* c = cos.const_data_ptr<scalar_t>();
    const auto* s = sin.const_data_ptr<scalar_t>();
    auto* out = y.mutable_data_ptr<scalar_t>();
    const int64_t tokenStride = x.dim() > 2 ? x.stride(-3) : heads * size;
    at::parallel_for(0, tokens, grainRows(heads * size), [&](int64_t begin, int64_t end) {
      kernels<scalar_t>().rotateTokens(in, c, s, out, begin, end, heads, size, tokenStride, x.stride(-2),
                                       static_cast<scalar_t>(sign));
    });
  });
  return y;
}

struct Rotate : torch::autograd::Function<Rotate> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& cos,
                            const at::Tensor& sin) {
    context->save_for_backward({cos, sin});
    return rotateImpl(x, cos, sin, 1);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    return {rotateImpl(gradients[0], saved[0], saved[1], -1), at::Tensor(), at::Tensor()};
  }
};

// The tensor itself where its rows lie at one stride, else a contiguous copy.
at::Tensor asRows(const at::Tensor& x) {
  if (x.stride(-1) != 1) return x.contiguous();
  for (int64_t d = 0; d + 2 < x.dim(); ++d)
    if (x.stride(d) != x.stride(d + 1) * x.size(d + 1)) return x.contiguous();
  return x;
}

struct SwiGlu : torch::autograd::Function<SwiGlu> {
  // Without `up`, `gate` holds both, one behind the other in the last dimension.
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gateInput,
                            const std::optional<at::Tensor>& upInput) {
    const int64_t width = gateInput.size(-1) / (upInput ? 1 : 2);
    const auto both = asRows(gateInput);
    const auto gate = upInput ? both : both.narrow(-1, 0, width);
    const auto up = upInput ? asRows(*upInput) : both.narrow(-1, width, width);
    TORCH_CHECK(gate.sizes() == up.sizes(), "swiglu: gate ", gate.sizes(), " and up ", up.sizes());
    auto y = at::empty(gate.sizes(), gate.options());
    const int64_t rows = gate.numel() / width;
    AT_DISPATCH_FLOATING_TYPES(gate.scalar_type(), "swiglu", [&] {
      const auto *g = gate.const_data_ptr<scalar_t>(), *u = up.const_data_ptr<scalar_t>();
      auto* out = y.mutable_data_ptr<scalar_t>();
      at::parallel_for(0, rows, grainRows(width), [&](int64_t begin, int64_t end) {
        kernels<scalar_t>().gateRows(g, u, out, begin, end, width, rowStride(gate), rowStride(up));
      });
    });
    context->save_for_backward({gate, up});
    context->saved_data["joint"] = !upInput;
    return y;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto &gate = saved[0], &up = saved[1];
    const auto grad = gradients[0].contiguous();
    const int64_t width = gate.size(-1), rows = gate.numel() / width;
    const bool joint = context->saved_data["joint"].toBool();
    auto sizes = gate.sizes().vec();
    sizes.back() = 2 * width;
    const auto both = joint ? at::empty(sizes, gate.options()) : at::Tensor();
    const auto dGate = joint ? both.narrow(-1, 0, width) : at::empty(gate.sizes(), gate.options());
    const auto dUp = joint ? both.narrow(-1, width, width) : at::empty(gate.sizes(), gate.options());
    AT_DISPATCH_FLOATING_TYPES(gate.scalar_type(), "swiglu_backward", [&] {
      const auto *dy = grad.const_data_ptr<scalar_t>(), *g = gate.const_data_ptr<scalar_t>(),
                 *u = up.const_data_ptr<scalar_t>();
      auto *dg = dGate.mutable_data_ptr<scalar_t>(), *du = dUp.mutable_data_ptr<scalar_t>();
      at::parallel_for(0, rows, grainRows(width), [&](int64_t begin, int64_t end) {
        kernels<scalar_t>().gateRowsBackward(dy, g, u, dg, du, begin, end, width, rowStride(gate), rowStride(up),
                                             rowStride(dGate));
      });
    });
    return joint ? variable_list{both, at::Tensor()} : variable_list{dGate, dUp};
  }
  static int64_t rowStride(const at::Tensor& x) { return x.dim() > 1 ? x.stride(-2) : x.size(-1); }
};

// Elsewhere (other devices, half precision) the chain of libtorch's own operators.
bool here(const at::Tensor& x) {
  return x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble);
}

at::Tensor rmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  if (here(x) && weight.scalar_type() == x.scalar_type() && x.numel() > 0) return RmsNorm::apply(x, weight, eps);
  const int64_t width = x.size(-1);
  return at::rms_norm(x, width, weight, eps);
}

at::Tensor rotate(const at::Tensor& input, const at::Tensor& cos, const at::Tensor& sin) {
  const auto x = input.to(cos.scalar_type());
  if (here(x) && x.numel() > 0) return Rotate::apply(x, cos, sin);
  return at::addcmul(at::mul(x, cos), at::roll(x, {x.size(-1) / 2}, {-1}), sin);
}

at::Tensor swiGlu(const at::Tensor& gate, const std::optional<at::Tensor>& up) {
  if (here(gate) && gate.numel() > 0 && (!up || up->scalar_type() == gate.scalar_type()))
    return SwiGlu::apply(gate, up);
  const auto parts = up ? std::vector<at::Tensor>{gate, *up} : gate.chunk(2, -1);
  return at::mul(at::silu(parts[0]), parts[1]);
}

}  // namespace

TORCH_LIBRARY(visurf, library) {
  library.def("rms_norm(Tensor x, Tensor weight, float eps) -> Tensor", rmsNorm);
  library.def("rotate(Tensor x, Tensor cos, Tensor sin) -> Tensor", rotate);
  library.def("swiglu(Tensor gate, Tensor? up) -> Tensor", swiGlu);
}

}  // namespace visurf
