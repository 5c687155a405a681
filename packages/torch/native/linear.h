#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace visurf {

// x [.., in] weight^T [in, out] + bias
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias);

}  // namespace visurf
