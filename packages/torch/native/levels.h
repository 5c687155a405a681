// The kernels of the instruction set that libtorch's own run at, and how their work is cut into tasks.
#pragma once

#include <algorithm>

#include "kernels/kernels.h"

namespace visurf {

const Level& level();

template <class T>
const Kernels<T>& kernels();

constexpr int64_t kGrain = 16384;  // elements per task

inline int64_t grainRows(int64_t width) { return std::max<int64_t>(1, kGrain / std::max<int64_t>(width, 1)); }

}  // namespace visurf
