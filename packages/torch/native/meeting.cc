#include "meeting.h"

#include <unistd.h>

#include <algorithm>
#include <random>
#include <sstream>
#include <thread>

namespace visurf {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Between two looks for what has become of the meeting.
constexpr milliseconds kLook(500);
// Before the missing are asked for; then after twice that, and so on: with many processes it takes many questions.
constexpr milliseconds kFirst(1000);
// As long as the one that hosts the store waits for the others to hear of a fault: they may be just starting.
constexpr milliseconds kPatience(10000);
// How what is under "met" begins where all have; else it is a fault, or nothing yet. Names follow, in the order of
// ranks.
const std::string kAll = "all";

const char* const kTwice =
    ": two processes were started with the same rank, or another training meets at the same "
    "address";

std::vector<std::string> places(int size) {
  std::vector<std::string> keys;
  for (int each = 0; each < size; ++each) keys.push_back(keyOf("here", each));
  return keys;
}

std::vector<int> absent(c10d::Store& store, const std::vector<std::string>& keys) {
  std::vector<int> ranks;
  for (size_t each = 0; each < keys.size(); ++each)
    if (!store.check({keys[each]})) ranks.push_back(static_cast<int>(each));
  return ranks;
}

Missing taken(int rank) { return Missing(Fault{{}, listed({rank}) + " is there already" + kTwice}); }
Fault twice(int rank) { return {{}, listed({rank}) + " is there twice" + kTwice}; }
Fault late(const std::vector<int>& missing, milliseconds timeout) {
  return {missing, listed(missing) + (missing.size() == 1 ? " has" : " have") + " not come within " +
                       std::to_string(timeout.count() / 1000) + " s"};
}

bool haveMet(const std::string& outcome) { return outcome.starts_with(kAll); }

// Whether those that have met did so with this one.
bool isAmong(const std::string& outcome, const Comer& comer, const std::string& name) {
  std::istringstream in(outcome.substr(kAll.size()));
  std::string each;
  for (int rank = 0; rank <= comer.rank; ++rank) in >> each;
  return each == name;
}

std::string everybody(c10d::Store& store, const std::vector<std::string>& keys) {
  std::string outcome = kAll;
  for (const auto& name : store.multiGet(keys)) outcome.append(" ").append(text(name));
  return outcome;
}

// The first outcome holds. @returns it
std::string settle(c10d::Store& store, const std::string& outcome) {
  return text(store.compareSet("met", {}, bytes(outcome)));
}

// Throws a fault that holds for all; whoever hosts the store waits until they know.
[[noreturn]] void fall(c10d::Store& store, const Comer& comer, const std::string& outcome) {
  const Fault fault = unpacked(outcome);
  const auto others = comer.size - static_cast<int64_t>(fault.ranks.size());
  const auto end = Clock::now() + std::min(kPatience, comer.timeout);
  try {
    for (auto known = store.add("known", 1); comer.hosts && Clock::now() < end; known = store.add("known", 0)) {
      if (known >= others) break;
      std::this_thread::sleep_for(kLook / 10);
    }
  } catch (const std::exception&) {
    // Whoever hosts it has gone already; what is known holds.
  }
  throw Missing(fault);
}

// What one has otherwise than the first that came, which wrote "RANK" and its terms, each on a line.
std::string unlike(const std::string& first, const Comer& comer) {
  std::istringstream theirs(first), ours(comer.terms);
  std::string other, before, now;
  std::getline(theirs, other);
  while (std::getline(ours, now)) {
    std::getline(theirs, before);
    if (now == before) continue;
    const auto value = [](const std::string& line) { return line.substr(line.find(' ') + 1); };
    return "rank " + std::to_string(comer.rank) + " has " + now + ", and rank " + other + " has " + value(before);
  }
  return {};
}

}  // namespace

void enter(c10d::Store& store, const Comer& comer) {
  const auto first = text(store.compareSet("terms", {}, bytes(std::to_string(comer.rank) + "\n" + comer.terms)));
  const auto difference = unlike(first, comer);
  if (!difference.empty()) {
    const Fault fault{{}, difference};
    const auto outcome = settle(store, packed(fault));
    if (haveMet(outcome)) throw Missing(fault);
    fall(store, comer, outcome);
  }
  if (!store.check({"met"})) return;
  const auto outcome = text(store.get("met"));
  if (haveMet(outcome)) throw taken(comer.rank);
  fall(store, comer, outcome);
}

void meet(c10d::Store& store, const Comer& comer, const std::function<void(const std::vector<int>&)>& awaits) {
  const auto keys = places(comer.size);
  // One that is started again, while others are still awaited, takes the place of who is gone. One that is not gone
  // sees that.
  const auto name = std::to_string(getpid()) + "-" + std::to_string(std::random_device{}());
  store.set(keys[comer.rank], bytes(name));
  const auto begin = Clock::now();
  milliseconds telling = kFirst;
  std::string outcome;
  while (outcome.empty()) {
    bool areAll = true;
    try {
      store.wait(keys, std::min(comer.timeout, kLook));
    } catch (const std::exception&) {
      // Not all are there yet, or there is no store: what follows tells.
      areAll = false;
    }
    const auto waited = Clock::now() - begin;
    if (store.check({"met"}))
      outcome = text(store.get("met"));
    else if (text(store.get(keys[comer.rank])) != name)
      outcome = settle(store, packed(twice(comer.rank)));
    else if (areAll)
      outcome = settle(store, everybody(store, keys));
    else if (waited > std::min(telling, comer.timeout)) {
      const auto missing = absent(store, keys);
      if (missing.empty()) continue;
      awaits(missing);
      telling *= 2;
      if (waited > comer.timeout) outcome = settle(store, packed(late(missing, comer.timeout)));
    }
  }
  if (!haveMet(outcome)) fall(store, comer, outcome);
  if (!isAmong(outcome, comer, name)) throw taken(comer.rank);
}

void callOff(c10d::Store& store, const Comer& comer, const std::string& why) {
  const auto outcome = settle(store, packed(ended(comer.rank, why)));
  if (haveMet(outcome)) return;
  try {
    fall(store, comer, outcome);
  } catch (const Missing&) {
    // This one has a fault of its own to tell of.
  }
}

void turnAway(c10d::Store& store, const Comer& comer) {
  const auto outcome = settle(store, packed(twice(comer.rank)));
  if (haveMet(outcome)) throw taken(comer.rank);
  Comer guest = comer;
  guest.hosts = false;
  fall(store, guest, outcome);
}

}  // namespace visurf
