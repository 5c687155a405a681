// Dropout whose draws are counted: what is kept depends on the keys of rows and on the column, not on what else is in a
// batch. One pass over memory on the CPU, which makes the draws again for the gradient; elsewhere a chain of libtorch's
// operators, of the same draws.
#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "levels.h"

namespace visurf {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor dropRows(const at::Tensor& input, const at::Tensor& keys, int64_t gamma, int16_t least) {
  const int64_t width = input.size(-1), rows = keys.numel();
  const auto x = input.contiguous();
  auto y = at::empty_like(x);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "counted_dropout", [&] {
    const auto* in = x.const_data_ptr<scalar_t>();
    const auto* of = keys.const_data_ptr<int64_t>();
    auto* out = y.mutable_data_ptr<scalar_t>();
    at::parallel_for(0, rows, grainRows(width), [&](int64_t begin, int64_t end) {
      kernels<scalar_t>().dropRows(in, of, out, begin, end, width, gamma, least);
    });
  });
  return y;
}

struct CountedDropout : torch::autograd::Function<CountedDropout> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& keys, int64_t gamma,
                            int64_t least) {
    context->save_for_backward({keys});
    context->saved_data["gamma"] = gamma;
    context->saved_data["least"] = least;
    return dropRows(x, keys, gamma, static_cast<int16_t>(least));
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto gamma = context->saved_data["gamma"].toInt(), least = context->saved_data["least"].toInt();
    return {dropRows(gradients[0], context->get_saved_variables()[0], gamma, static_cast<int16_t>(least)), at::Tensor(),
            at::Tensor(), at::Tensor()};
  }
};

// Halves of 64 bits are exclusively or-ed in place, as views in 32: one kernel, and no arithmetic shift.
at::Tensor dropChain(const at::Tensor& x, const at::Tensor& keys, const at::Tensor& steps, int64_t gamma,
                     int64_t least) {
  auto drawn = at::add(keys.unsqueeze(-1), steps, gamma);
  const auto halves = drawn.view(at::kInt);
  const auto low = halves.slice(-1, 0, std::nullopt, 2), high = halves.slice(-1, 1, std::nullopt, 2);
  low.bitwise_xor_(high);
  for (int round = 0; round < 2; ++round) {
    drawn.mul_(static_cast<int64_t>(kMixer));
    low.bitwise_xor_(high);
  }
  return at::mul(x, drawn.view(at::kShort).narrow(-1, 0, x.size(-1)).ge(least));
}

// x [.., in] with zeros where a draw of 16 bits is below `below`; keys int64 [..] of its rows. steps int64
// [ceil(in / 4)], 1, 2, ..: where the chain runs, which else makes them.
at::Tensor countedDropout(const at::Tensor& x, const at::Tensor& keys, const std::optional<at::Tensor>& steps,
                          int64_t gamma, int64_t below) {
  TORCH_CHECK(keys.scalar_type() == at::kLong && keys.sizes() == x.sizes().slice(0, x.dim() - 1),
              "counted_dropout: keys must be int64, one per row of ", x.sizes(), ", got ", keys.sizes());
  // Draws are compared with their sign.
  const int64_t least = below - (1 << 15);
  if (x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble) && x.numel() > 0)
    return CountedDropout::apply(x, keys.contiguous(), gamma, least);
  return dropChain(x, keys, steps ? *steps : at::arange(1, (x.size(-1) + 3) / 4 + 1, keys.options()), gamma, least);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(visurf, library) {
  library.def("counted_dropout(Tensor x, Tensor keys, Tensor? steps, int gamma, int below) -> Tensor", countedDropout);
}

}  // namespace visurf
