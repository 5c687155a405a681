// Products with weights, in training and for prompts.
#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <limits>
#include <string_view>

#include "levels.h"
#include "linear.h"

namespace visurf {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// libtorch multiplies float32 with MKL, which on processors of others than Intel leaves out AVX-512 (half of what the
// newest can do), and is a few percent slower than oneDNN with AVX2. oneDNN, which libtorch brings as well, compiles a
// kernel for every new shape, in about half a millisecond: from so many multiplications that is nothing, and smaller
// products are filled up with rows of zeros, so that their shapes come again.
constexpr int64_t kLarge = 1 << 28, kRows = 64;

// Multiplications from which oneDNN is faster.
int64_t fewest() {
#ifdef VISURF_X86
  const std::string_view name = level().name;
  const bool foreign = !__builtin_cpu_is("intel") && at::hasMKL() && at::hasMKLDNN();
  if (foreign && name == "AVX512") return 1 << 23;
  if (foreign && name == "AVX2") return kLarge;
#endif
  return std::numeric_limits<int64_t>::max();
}

// [N, C] of x [.., C], N filled up where a product with `width` columns is not large.
at::Tensor asRows(const at::Tensor& x, int64_t width) {
  const auto rows = x.reshape({-1, x.size(-1)});
  const int64_t missing = (kRows - rows.size(0) % kRows) % kRows;
  if (missing == 0 || x.numel() * width >= kLarge) return rows;
  return at::constant_pad_nd(rows, {0, 0, 0, missing});
}

bool isFaster(const at::Tensor& x, const at::Tensor& weight, int64_t multiplications) {
  static const int64_t enough = fewest();
  const auto here = [](const at::Tensor& each) { return each.is_cpu() && each.scalar_type() == at::kFloat; };
  return multiplications >= enough && here(x) && here(weight) && !at::autocast::is_autocast_enabled(at::kCPU);
}

// x [N, in] weight^T [in, out] + bias, of matrices in any order
at::Tensor multiply(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  using Scalars = c10::List<std::optional<at::Scalar>>;
  static const auto product =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("mkldnn::_linear_pointwise", "")
          .typed<at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, std::string_view,
                            Scalars, std::optional<std::string_view>)>();
  return product.call(x, weight, bias, "none", Scalars(), "");
}

struct Linear : torch::autograd::Function<Linear> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias) {
    const auto rows = asRows(x, weight.size(0));
    context->save_for_backward({rows, weight});
    context->saved_data["bias"] = bias.has_value();
    context->saved_data["sizes"] = x.sizes();
    auto sizes = x.sizes().vec();
    sizes.back() = weight.size(0);
    return shaped(multiply(rows, weight, bias), sizes);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1];
    const auto grad = asRows(gradients[0], weight.size(1));
    at::Tensor dx, dWeight, dBias;
    if (context->needs_input_grad(0))
      dx = shaped(multiply(grad, weight.t(), std::nullopt), context->saved_data["sizes"].toIntVector());
    if (context->needs_input_grad(1)) dWeight = multiply(grad.t(), x.t(), std::nullopt);
    if (context->saved_data["bias"].toBool() && context->needs_input_grad(2)) dBias = grad.sum(0);
    return {dx, dWeight, dBias};
  }
  // Without the rows that were filled in.
  static at::Tensor shaped(const at::Tensor& y, at::IntArrayRef sizes) {
    return y.narrow(0, 0, c10::multiply_integers(sizes) / sizes.back()).view(sizes);
  }
};

constexpr int64_t kAddedTogether = 1 << 22;  // numbers of the sum, whose addends need memory of their own

// sum [R, C] += a [N, R]^T b [N, C]; without a gradient
at::Tensor addProduct(const at::Tensor& sum, const at::Tensor& a, const at::Tensor& b) {
  const at::NoGradGuard noGrad;
  const bool fits = sum.scalar_type() == at::kFloat && a.dim() == 2 && b.dim() == 2 && a.size(0) == b.size(0) &&
                    sum.sizes() == at::IntArrayRef({a.size(1), b.size(1)});
  if (!fits || !isFaster(a, b, a.numel() * b.size(1))) return sum.addmm_(a.t(), b);
  const int64_t rows = sum.size(0), most = std::max<int64_t>(1, kAddedTogether / sum.size(1));
  for (int64_t row = 0; row < rows; row += most) {
    const int64_t count = std::min(most, rows - row);
    sum.narrow(0, row, count).add_(multiply(a.narrow(1, row, count).t(), b.t(), std::nullopt));
  }
  return sum;
}

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  const bool fits = weight.dim() == 2 && x.dim() > 1 && x.size(-1) == weight.size(1) &&
                    (!bias || (bias->dim() == 1 && bias->scalar_type() == x.scalar_type()));
  if (fits && isFaster(x, weight, x.numel() * weight.size(0))) return Linear::apply(x, weight, bias);
  return at::linear(x, weight, bias);
}

TORCH_LIBRARY_FRAGMENT(visurf, library) {
  library.def("linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor", linear);
  library.def("add_product_(Tensor(a!) sum, Tensor a, Tensor b) -> Tensor(a!)", addProduct);
}

}  // namespace visurf
