// The choice of the next token on the CPU: a single pass over the logits where libtorch would need a chain of
// operators.
#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <limits>
#include <vector>

#include "kernels.h"

namespace visurf {

namespace {

constexpr int64_t kBlock = 256;

// Inverse transform sampling from softmax((logits + forbidden) / temperature): the first token whose cumulative
// probability exceeds the noise. Gives the log-probability under softmax(logits).
template <class T>
VISURF_KERNEL int64_t sampleRow(const T* logits, const T* forbidden, T temperature, double noise, int64_t size,
                                T* weights, double* masses, double* logProb) {
  T largest = -std::numeric_limits<T>::infinity(), allowed = largest;
  for (int64_t i = 0; i < size; ++i) largest = logits[i] > largest ? logits[i] : largest;
  for (int64_t i = 0; i < size; ++i) {
    weights[i] = forbidden ? logits[i] + forbidden[i] : logits[i];
    allowed = weights[i] > allowed ? weights[i] : allowed;
  }
  // One exponential serves both distributions where they are the same but for what is forbidden.
  const bool same = temperature == 1 && largest - allowed < 40;
  const T lowest = -std::numeric_limits<T>::infinity(), inverse = 1 / temperature;
  double all = 0, total = 0;
  for (int64_t begin = 0; begin < size; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, size);
    T part = 0, mass = 0;
    // What is forbidden has no weight, however small an exponential can get.
    if (same) {
      for (int64_t i = begin; i < end; ++i) {
        const T weight = exponential(logits[i] - largest);
        part += weight;
        weights[i] = weights[i] == lowest ? 0 : weight;
        mass += weights[i];
      }
    } else {
      for (int64_t i = begin; i < end; ++i) part += exponential(logits[i] - largest);
      for (int64_t i = begin; i < end; ++i) {
        const T weight = exponential((weights[i] - allowed) * inverse);
        weights[i] = weights[i] == lowest ? 0 : weight;
        mass += weights[i];
      }
    }
    all += part;
    total += mass;
    masses[begin / kBlock] = mass;
  }
  const double threshold = noise * total;
  double cumulative = 0;
  int64_t first = 0;
  for (; first + kBlock < size && cumulative + masses[first / kBlock] <= threshold; first += kBlock)
    cumulative += masses[first / kBlock];
  int64_t chosen = -1;
  for (int64_t i = first; i < size; ++i) {
    if (weights[i] == 0) continue;
    chosen = i;
    cumulative += weights[i];
    if (cumulative > threshold) break;
  }
  // Sums in another order may end just below the threshold, in a block where nothing is allowed.
  for (int64_t i = size - 1; chosen < 0 && i > 0; --i)
    if (weights[i] > 0) chosen = i;
  chosen = std::max<int64_t>(chosen, 0);
  *logProb = static_cast<double>(logits[chosen] - largest) - std::log(all);
  return chosen;
}

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
      std::vector<double> masses(size / kBlock + 1);
      for (int64_t row = begin; row < end; ++row)
        tokens.mutable_data_ptr<int64_t>()[row] = sampleRow<scalar_t>(
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
