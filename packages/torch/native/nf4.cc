// Weights in four bits, as bitsandbytes has them (NF4, Dettmers et al., arXiv 2305.14314): blocks of 64 share their
// largest magnitude, and each number is the nearest of 16 quantiles of the normal distribution. Two lie in a byte, the
// first in the upper half. A product makes the weights as it needs them, and keeps nothing of them for its gradient.
#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <tuple>

#include "linear.h"

namespace visurf {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kBlock = 64;
constexpr int64_t kGrain = 256;  // blocks that are worth a thread

constexpr std::array<float, 16> kValues{-1.0F,
                                        -0.6961928009986877F,
                                        -0.5250730514526367F,
                                        -0.39491748809814453F,
                                        -0.28444138169288635F,
                                        -0.18477343022823334F,
                                        -0.09105003625154495F,
                                        0.0F,
                                        0.07958029955625534F,
                                        0.16093020141124725F,
                                        0.24611230194568634F,
                                        0.33791524171829224F,
                                        0.44070982933044434F,
                                        0.5626170039176941F,
                                        0.7229568362236023F,
                                        1.0F};

// The two numbers of every byte.
const std::array<std::array<float, 2>, 256>& pairs() {
  static const auto table = [] {
    std::array<std::array<float, 2>, 256> made{};
    for (size_t byte = 0; byte < 256; ++byte) made[byte] = {kValues[byte >> 4], kValues[byte & 15]};
    return made;
  }();
  return table;
}

// The nearest value of a number between -1 and 1; of two that are equally near, the lower.
uint8_t nearest(float x) {
  int code = 0;
  for (size_t i = 0; i < 15; ++i) code += (kValues[i] + kValues[i + 1]) / 2 < x;
  return static_cast<uint8_t>(code);
}

// x, on the CPU: packed uint8 [ceil(N / 2)], magnitudes float32 [ceil(N / 64)]
std::tuple<at::Tensor, at::Tensor> quantize(const at::Tensor& input) {
  TORCH_CHECK(input.is_cpu(), "nf4_quantize: weights are packed on the CPU");
  const auto x = input.to(at::kFloat).contiguous();
  const int64_t count = x.numel(), blocks = (count + kBlock - 1) / kBlock;
  auto packed = at::empty({(count + 1) / 2}, x.options().dtype(at::kByte));
  auto magnitudes = at::empty({blocks}, x.options());
  const auto* numbers = x.const_data_ptr<float>();
  auto* bytes = packed.mutable_data_ptr<uint8_t>();
  auto* largest = magnitudes.mutable_data_ptr<float>();
  at::parallel_for(0, blocks, kGrain, [&](int64_t begin, int64_t end) {
    std::array<uint8_t, kBlock> codes{};
    for (int64_t block = begin; block < end; ++block) {
      const auto* own = numbers + block * kBlock;
      const int64_t length = std::min(kBlock, count - block * kBlock);
      float most = 0;
      for (int64_t i = 0; i < length; ++i) most = std::max(most, std::abs(own[i]));
      // A block that is not full is divided, as in the reference, whose last bit may differ.
      const bool full = length == kBlock;
      const float divisor = std::max(most, 1e-38F), inverse = 1 / divisor;
      for (int64_t i = 0; i < length; ++i)
        codes[i] = nearest(std::clamp(full ? own[i] * inverse : own[i] / divisor, -1.0F, 1.0F));
      if (length % 2 == 1) codes[length] = nearest(0);
      for (int64_t i = 0; i < length; i += 2)
        bytes[(block * kBlock + i) / 2] = static_cast<uint8_t>(codes[i] << 4 | codes[i + 1]);
      largest[block] = full ? most : divisor;
    }
  });
  return {packed, magnitudes};
}

template <class T>
void unpackHere(const at::Tensor& packed, const at::Tensor& magnitudes, const at::Tensor& out) {
  const int64_t count = out.numel(), blocks = magnitudes.numel();
  const auto* bytes = packed.const_data_ptr<uint8_t>();
  const auto* largest = magnitudes.const_data_ptr<float>();
  auto* numbers = out.mutable_data_ptr<T>();
  const auto& table = pairs();
  at::parallel_for(0, blocks, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const auto* own = bytes + block * kBlock / 2;
      auto* to = numbers + block * kBlock;
      const float scale = largest[block];
      const int64_t length = std::min(kBlock, count - block * kBlock);
      for (int64_t i = 0; i + 1 < length; i += 2) {
        const auto& two = table[own[i / 2]];
        to[i] = static_cast<T>(two[0] * scale);
        to[i + 1] = static_cast<T>(two[1] * scale);
      }
      if (length % 2 == 1) to[length - 1] = static_cast<T>(table[own[length / 2]][0] * scale);
    }
  });
}

// On another device an index takes four bytes for every two numbers, and both numbers four each before they are scaled:
// so many are unpacked at a time there, of which that lies in the cache of a card.
constexpr int64_t kTogether = 1 << 22;

void unpackThere(const at::Tensor& packed, const at::Tensor& magnitudes, const at::Tensor& table,
                 const at::Tensor& out) {
  const int64_t count = out.numel(), whole = count / kBlock * kBlock;
  for (int64_t from = 0; from < count;) {
    const int64_t length = from < whole ? std::min(kTogether, whole - from) : count - from;
    const int64_t blocks = (length + kBlock - 1) / kBlock, bytes = (length + 1) / 2;
    const auto codes = packed.narrow(0, from / 2, bytes).to(at::kInt);
    const auto numbers = table.index_select(0, codes).view(-1).narrow(0, 0, length);
    // Scaled in float32 and rounded once, as they are written.
    auto scaled = out.narrow(0, from, length).view({blocks, length / blocks});
    at::mul_out(scaled, numbers.view({blocks, length / blocks}),
                magnitudes.narrow(0, from / kBlock, blocks).unsqueeze(1));
    from += length;
  }
}

// The numbers in the shape and dtype that are asked for. Elsewhere than on the CPU `table` has the pairs of every byte,
// [256, 2].
at::Tensor dequantize(const at::Tensor& packed, const at::Tensor& magnitudes, const at::Tensor& table,
                      at::IntArrayRef shape, at::ScalarType type) {
  const int64_t count = c10::multiply_integers(shape);
  TORCH_CHECK(packed.scalar_type() == at::kByte && magnitudes.scalar_type() == at::kFloat && packed.is_contiguous() &&
                  magnitudes.is_contiguous() && packed.numel() == (count + 1) / 2 &&
                  magnitudes.numel() == (count + kBlock - 1) / kBlock,
              "nf4: ", packed.numel(), " bytes with ", magnitudes.numel(), " magnitudes are no weights of shape ",
              shape);
  auto out = at::empty({count}, packed.options().dtype(type));
  if (packed.is_cpu())
    AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, type, "nf4_dequantize",
                                   [&] { unpackHere<scalar_t>(packed, magnitudes, out); });
  else
    unpackThere(packed, magnitudes, table, out);
  return out.view(shape);
}

struct Nf4Linear : torch::autograd::Function<Nf4Linear> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& packed,
                            const at::Tensor& magnitudes, const at::Tensor& table, int64_t outputs,
                            const std::optional<at::Tensor>& bias) {
    const std::vector<int64_t> shape{outputs, x.size(-1)};
    context->save_for_backward({packed, magnitudes, table});
    context->saved_data["shape"] = shape;
    return visurf::linear(x, dequantize(packed, magnitudes, table, shape, x.scalar_type()), bias);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto& grad = gradients[0];
    const auto shape = context->saved_data["shape"].toIntVector();
    at::Tensor dx;
    if (context->needs_input_grad(0))
      dx = visurf::linear(grad, dequantize(saved[0], saved[1], saved[2], shape, grad.scalar_type()).t(), std::nullopt);
    return {dx, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

// x [.., in] W^T [in, outputs] + bias, which like W takes no gradient
at::Tensor nf4Linear(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& magnitudes,
                     const at::Tensor& table, int64_t outputs, const std::optional<at::Tensor>& bias) {
  return Nf4Linear::apply(x, packed, magnitudes, table, outputs, bias);
}

at::Tensor nf4Dequantize(const at::Tensor& packed, const at::Tensor& magnitudes, const at::Tensor& table,
                         at::IntArrayRef shape, at::ScalarType type) {
  return dequantize(packed, magnitudes, table, shape, type);
}

// [256, 2]: the two numbers of every byte
at::Tensor nf4Table() {
  auto table = at::empty({256, 2}, at::kFloat);
  std::copy_n(&pairs()[0][0], 512, table.mutable_data_ptr<float>());
  return table;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(visurf, library) {
  library.def("nf4_quantize(Tensor x) -> (Tensor, Tensor)", quantize);
  library.def("nf4_dequantize(Tensor packed, Tensor magnitudes, Tensor table, int[] shape, ScalarType dtype) -> Tensor",
              nf4Dequantize);
  library.def(
      "nf4_linear(Tensor x, Tensor packed, Tensor magnitudes, Tensor table, int outputs, Tensor? bias) -> Tensor",
      nf4Linear);
  library.def("nf4_table() -> Tensor", nf4Table);
}

}  // namespace visurf
