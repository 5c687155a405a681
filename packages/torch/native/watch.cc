#include "watch.h"

#include <unistd.h>

#include <algorithm>
#include <random>
#include <sstream>
#include <thread>

namespace visurf {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kBeat(500);
// Without a sign of life for so long a process is taken for gone, where the work of all has failed.
constexpr milliseconds kSilence(4000);
// The same where nothing has failed: a process may be short of time for a while.
constexpr milliseconds kLongSilence(15000);
// As long as one that fails waits for the others to hear it.
constexpr milliseconds kPatience(3000);

std::vector<uint8_t> bytes(const std::string& text) { return {text.begin(), text.end()}; }
std::string text(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }
std::string keyOf(const char* what, int rank) { return std::string(what) + "/" + std::to_string(rank); }

std::string listed(const std::vector<int>& ranks) {
  std::ostringstream out;
  out << (ranks.size() == 1 ? "rank " : "ranks ");
  for (size_t i = 0; i < ranks.size(); ++i) out << (i == 0 ? "" : ", ") << ranks[i];
  return out.str();
}
std::string gone(const std::vector<int>& ranks) {
  return listed(ranks) + (ranks.size() == 1 ? " is" : " are") + " gone";
}

// Without places in the sources of gloo and what it says to those who maintain it.
std::string plain(std::string cause) {
  if (cause.starts_with('[') && cause.find("] ") != std::string::npos) cause.erase(0, cause.find("] ") + 2);
  return cause.substr(0, std::min(cause.find(". This is typically"), cause.find('\n')));
}

// In the store: ranks, then the text.
std::string packed(const Fault& fault) {
  std::ostringstream out;
  out << fault.ranks.size();
  for (const int rank : fault.ranks) out << ' ' << rank;
  out << '\n' << fault.text;
  return out.str();
}
Fault unpacked(const std::string& text) {
  std::istringstream in(text);
  size_t count = 0;
  in >> count;
  Fault fault{std::vector<int>(count), ""};
  for (int& rank : fault.ranks) in >> rank;
  in.get();
  fault.text.assign(std::istreambuf_iterator<char>(in), {});
  return fault;
}

}  // namespace

Watch::Watch(c10::intrusive_ptr<c10d::Store> store, int rank, int size, bool hosted)
    : store_(std::move(store)), rank_(rank), size_(size), hosted_(hosted), contact_(Clock::now()) {
  beat();
}

void Watch::start() {
  // It may hang in a store that does not answer: it is never waited for.
  std::thread([self = shared_from_this()] { self->run(); }).detach();
}

void Watch::beat() {
  store_->set(keyOf("beat", rank_), bytes(std::to_string(++count_) + " " + std::to_string(begun_.load())));
}

void Watch::run() {
  for (std::unique_lock<std::mutex> lock(mutex_); !stopped_;) {
    lock.unlock();
    try {
      beat();
      look();
    } catch (const std::exception&) {
      // Whoever hosts the store has gone; after a leave that is how it ends.
      lock.lock();
      const bool isLost = !leaving_ && !fault_;
      stopped_ = true;
      lock.unlock();
      if (isLost)
        hear(hosted_ ? Fault{{0}, gone({0}) + ": the connection to it is lost"}
                     : Fault{{}, "the store of the processes is gone: the launcher that hosts it has ended"});
      changed_.notify_all();
      return;
    }
    lock.lock();
    contact_ = Clock::now();
    changed_.notify_all();
    const auto pause = leaving_ || told_ ? kBeat / 20 : kBeat;
    const bool asked = leaving_ || told_;
    if (!stopped_) changed_.wait_for(lock, pause, [&] { return stopped_ || (!asked && (leaving_ || told_)); });
  }
}

std::vector<std::string> Watch::beats() {
  std::vector<std::string> keys, values;
  for (int rank = 0; rank < size_; ++rank) keys.push_back(keyOf("beat", rank));
  for (const auto& value : store_->multiGet(keys)) values.push_back(text(value));
  return values;
}

// One round: what the others have found, and what this process wants to know or to say.
void Watch::look() {
  std::unique_lock<std::mutex> lock(mutex_);
  const bool isKnown = fault_.has_value(), leaving = leaving_, hasLeft = left_ > 0, stops = stops_,
             saysStop = saysStop_;
  const auto cause = cause_;
  const auto told = told_;
  lock.unlock();
  if (leaving) {
    const auto left = store_->add("left", hasLeft ? 0 : 1);
    lock.lock();
    left_ = left;
    return;
  }
  if (told && !isKnown) declare(Fault{{rank_}, listed({rank_}) + " has ended: " + *told});
  if (isKnown) {
    const auto heard = store_->add("heard", 0);
    lock.lock();
    heard_ = heard;
    return;
  }
  if (store_->check({"fault"})) return hear(unpacked(text(store_->get("fault"))));
  if (!stops) {
    if (saysStop) store_->set("stop", bytes("1"));
    const bool isSaid = store_->check({"stop"});
    lock.lock();
    stops_ = isSaid;
    lock.unlock();
  }
  if (!cause) return;
  const auto now = beats();
  if (before_.empty() || about_ != *cause) {
    about_ = *cause;
    before_ = now;
    since_ = Clock::now();
    return;
  }
  const bool isFailure = !cause->empty();
  if (Clock::now() - since_ < (isFailure ? kSilence : kLongSilence)) return;
  std::vector<int> silent, behind;
  uint64_t least = begun_;
  for (int rank = 0; rank < size_; ++rank) {
    if (rank != rank_ && now[rank] == before_[rank]) silent.push_back(rank);
    const uint64_t begun = std::stoull(now[rank].substr(now[rank].find(' ')));
    if (begun < least) behind.clear(), least = begun;
    if (begun == least && begun < begun_) behind.push_back(rank);
  }
  if (!silent.empty())
    return declare({silent, gone(silent) + ": no sign of life" + (isFailure ? " (" + *cause + ")" : "")});
  if (!isFailure) {
    before_.clear();
    lock.lock();
    if (cause_ && cause_->empty()) cause_.reset();
    return;
  }
  if (!behind.empty())
    return declare({behind, listed(behind) + " did not come to exchange " + std::to_string(begun_) +
                                " in time, but to " + std::to_string(least) + " (" + *cause + ")"});
  declare(
      {{}, "the processes lost each other at exchange " + std::to_string(begun_) + ", and all are there: " + *cause});
}

// The first that is declared holds for all.
void Watch::declare(const Fault& fault) { hear(unpacked(text(store_->compareSet("fault", {}, bytes(packed(fault)))))); }

void Watch::hear(const Fault& fault) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    fault_ = fault;
    if (stopped_) return;
  }
  store_->add("heard", 1);
  changed_.notify_all();
}

std::optional<Fault> Watch::fault() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return fault_;
}

void Watch::suspect() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!cause_) cause_ = "";
}

void Watch::askToStop() {
  const std::lock_guard<std::mutex> lock(mutex_);
  saysStop_ = true;
}

bool Watch::stops() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return stops_;
}

Fault Watch::investigate(const std::string& said) {
  std::unique_lock<std::mutex> lock(mutex_);
  const std::string cause = plain(said);
  cause_ = cause;
  while (!fault_) {
    changed_.wait_for(lock, kBeat);
    // The thread has had no answer from the store: whoever hosts it hangs.
    if (!fault_ && Clock::now() - contact_ > kSilence + 2 * kBeat)
      fault_ = hosted_ && rank_ != 0 ? Fault{{0}, gone({0}) + ": it does not answer (" + cause + ")"}
                                     : Fault{{}, "the store of the processes does not answer (" + cause + ")"};
  }
  return *fault_;
}

void Watch::tell(const std::string& text) {
  std::unique_lock<std::mutex> lock(mutex_);
  told_ = text;
  changed_.notify_all();
  // The store ends with the process that hosts it; those that are gone will not hear.
  const auto isKnown = [&] {
    if (stopped_ || !fault_) return stopped_;
    const auto others = std::ranges::count_if(fault_->ranks, [&](int rank) { return rank != rank_; });
    return !hosted_ || rank_ != 0 || heard_ >= size_ - others;
  };
  changed_.wait_for(lock, kPatience, isKnown);
  stopped_ = true;
}

void Watch::leave() {
  std::unique_lock<std::mutex> lock(mutex_);
  leaving_ = true;
  changed_.notify_all();
  const int64_t awaited = hosted_ && rank_ == 0 ? size_ : 1;
  changed_.wait_for(lock, kPatience, [&] { return stopped_ || left_ >= awaited; });
  stopped_ = true;
  changed_.notify_all();
}

namespace {

std::vector<std::string> places(int size) {
  std::vector<std::string> keys;
  for (int each = 0; each < size; ++each) keys.push_back(keyOf("here", each));
  return keys;
}

Missing taken(int rank) {
  return Missing(Fault{{},
                       listed({rank}) + " is there already: two processes have the same rank, or another training "
                                        "meets at the same address"});
}

}  // namespace

void requirePlace(c10d::Store& store, int rank, int size) {
  if (store.check(places(size))) throw taken(rank);
}

void meet(c10d::Store& store, int rank, int size, milliseconds timeout) {
  const auto keys = places(size);
  // One that is started again, while others are still awaited, takes the place of who is gone: the last to come has it.
  const auto name = std::to_string(getpid()) + " " + std::to_string(std::random_device{}());
  store.set(keys[rank], bytes(name));
  const auto end = Clock::now() + timeout;
  for (;;) {
    try {
      store.wait(keys, std::min(timeout, kBeat));
      if (text(store.get(keys[rank])) != name) throw taken(rank);
      return;
    } catch (const Missing&) {
      throw;
    } catch (const std::exception&) {
      // Not all are there yet, or there is no store: what follows tells.
    }
    if (store.check({"unmet"}) || Clock::now() > end) break;
  }
  std::vector<int> missing;
  for (int each = 0; each < size; ++each)
    if (!store.check({keys[each]})) missing.push_back(each);
  if (missing.empty()) return;
  // Whoever gives up first does so for all; the one that hosts the store waits until they know.
  const Fault fault{missing, listed(missing) + (missing.size() == 1 ? " has" : " have") + " not come within " +
                                 std::to_string(timeout.count() / 1000) + " s"};
  const auto said = unpacked(text(store.compareSet("unmet", {}, bytes(packed(fault)))));
  const auto patience = Clock::now() + kPatience;
  for (auto known = store.add("known", 1); rank == 0 && Clock::now() < patience; known = store.add("known", 0)) {
    if (known >= size - static_cast<int64_t>(said.ranks.size())) break;
    std::this_thread::sleep_for(kBeat / 10);
  }
  throw Missing(said);
}

}  // namespace visurf
