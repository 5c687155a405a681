// The choice of the next token on the CPU: a single pass over the logits where libtorch would need a chain of
// operators.
#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <vector>

#include "levels.h"

namespace visurf {

namespace {

// logits [R, V], noise [R] in [0, 1), forbidden [V]; returns tokens [R] and their log-probabilities [R] in float64.
std::tuple<at::Tensor, at::Tensor> sample(const at::Tensor& input, const at::Tensor& noise,
                                          const std::optional<at::Tensor>& forbidden, double temperature) {
  const auto logits = input.contiguous();
  const int64_t rows = logits.size(0), size = logits.size(1);
  TORCH_CHECK(noise.scalar_type() == at::kDouble && noise.numel() == rows,
              "sample: noise must be float64, one per row");
  TORCH_CHECK(!forbidden || (forbidden->numel() == size && forbidden->scalar_type() == logits.scalar_type()),
              "sample: forbidden must be like a row of logits");
  const auto bias = forbidden ? forbidden->contiguous() : at::Tensor();
  auto tokens = at::empty({rows}, logits.options().dtype(at::kLong));
  auto logProbs = at::empty({rows}, logits.options().dtype(at::kDouble));
  AT_DISPATCH_FLOATING_TYPES(logits.scalar_type(), "sample", [&] {
    at::parallel_for(0, rows, grainRows(size), [&](int64_t begin, int64_t end) {
      std::vector<scalar_t> weights(size);
      std::vector<double> masses(size / kMassBlock + 1);
      for (int64_t row = begin; row < end; ++row)
        tokens.mutable_data_ptr<int64_t>()[row] = kernels<scalar_t>().sampleRow(
            logits.const_data_ptr<scalar_t>() + row * size, bias.defined() ? bias.const_data_ptr<scalar_t>() : nullptr,
            static_cast<scalar_t>(temperature), noise.const_data_ptr<double>()[row], size, weights.data(),
            masses.data(), logProbs.mutable_data_ptr<double>() + row);
    });
  });
  return {tokens, logProbs};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(visurf, library) {
  library.def("sample(Tensor logits, Tensor noise, Tensor? forbidden, float temperature) -> (Tensor, Tensor)", sample);
}

}  // namespace visurf
