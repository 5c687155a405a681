// Collectives between cards of NVIDIA; nothing where its headers were missing when this was compiled.
#pragma once
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

namespace visurf {

// Whether there are any.
bool hasNccl();
c10::intrusive_ptr<c10d::Backend> ncclBackend(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                                              std::chrono::milliseconds timeout);
}  // namespace visurf
