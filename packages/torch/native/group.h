// Processes that work together: a store that they meet in, gloo for what lies on the CPU, NCCL for cards.
#pragma once
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "meeting.h"
#include "watch.h"

namespace visurf {

// Where they meet.
struct Meeting {
  std::string host, prefix;
  std::string address;  // where others reach this process
  uint16_t port = 0;
  Comer comer;
  bool hosted = true;  // by rank 0; else somebody else has the store
  bool cards = false;

  std::string where() const { return host + ":" + std::to_string(port); }
};

struct Group {
  c10::intrusive_ptr<c10d::Store> store;
  std::shared_ptr<Watch> watch;
  c10::intrusive_ptr<c10d::Backend> gloo, nccl;
  std::chrono::milliseconds timeout{0};

  const c10::intrusive_ptr<c10d::Backend>& of(const at::Tensor& tensor) const { return tensor.is_cpu() ? gloo : nccl; }
};

// Comes back once all have met and are connected. Throws Missing where they have not. `awaits` hears now and then who
// is not there yet.
std::shared_ptr<Group> makeGroup(const Meeting& at, const std::function<void(const std::vector<int>&)>& awaits);

// In place of that: all that come, or wait, hear why this one does not.
void declineTo(const Meeting& at, const std::string& why);

}  // namespace visurf
