// How processes meet in a store, before anybody works: all are there, none twice, and all were started alike. What
// comes of it is decided once, for all: either they have met, or there is a fault, which each of them throws as
// Missing.
#pragma once
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "fault.h"

namespace visurf {

// One that comes.
struct Comer {
  int rank = 0, size = 1;
  std::string terms;  // lines "NAME VALUE", alike in all
  std::chrono::milliseconds timeout{0};
  bool hosts = false;  // the store
};

// Before anything is touched. Throws Missing where it is decided already: those that have met go on without this one;
// and, in all, where this one was started otherwise than the first that came.
void enter(c10d::Store& store, const Comer& comer);

// Comes back once all are there. Throws Missing, in all, for those that do not come in time, and for two of one rank.
// `awaits` hears now and then who is not there yet.
void meet(c10d::Store& store, const Comer& comer, const std::function<void(const std::vector<int>&)>& awaits);

// In place of coming: all that come, or wait, hear why this one does not.
void callOff(c10d::Store& store, const Comer& comer, const std::string& why);

// In place of coming, where another process hosts a store with the rank of this one. Throws Missing, in all unless they
// have met.
[[noreturn]] void turnAway(c10d::Store& store, const Comer& comer);

}  // namespace visurf
