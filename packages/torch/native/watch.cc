#include "watch.h"

#include <algorithm>
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

std::string gone(const std::vector<int>& ranks) {
  return listed(ranks) + (ranks.size() == 1 ? " is" : " are") + " gone";
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
  if (told && !isKnown) declare(ended(rank_, *told));
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

}  // namespace visurf
