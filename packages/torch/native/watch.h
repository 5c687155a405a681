// Who of the processes that work together is there: each gives a sign of life in their store, from a thread of its own,
// so that one that computes for minutes is told from one that is gone.
#pragma once
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "fault.h"

namespace visurf {

class Watch : public std::enable_shared_from_this<Watch> {
 public:
  // hosted: the store lives in rank 0
  Watch(c10::intrusive_ptr<c10d::Store> store, int rank, int size, bool hosted);
  void start();

  // A collective begins: its number, from 1.
  uint64_t begin() { return ++begun_; }
  // What any process has found; cheap.
  std::optional<Fault> fault();
  // After a collective failed: asks who is there, which takes seconds.
  Fault investigate(const std::string& said);
  // While waiting: asks whether all are there, and is back at once; a fault is known some seconds later.
  void suspect();
  // Somebody wants all to stop, in good order: heard by all.
  void askToStop();
  bool stops();
  // Tells the others of a fault of this process's own, and waits a moment for them to hear it.
  void tell(const std::string& text);
  // All have come to their end: the one that hosts the store goes last.
  void leave();

 private:
  void run();
  void beat();
  void look();
  void declare(const Fault& fault);
  void hear(const Fault& fault);
  std::vector<std::string> beats();

  const c10::intrusive_ptr<c10d::Store> store_;  // used by the thread alone
  const int rank_, size_;
  const bool hosted_;
  std::atomic<uint64_t> begun_{0};
  uint64_t count_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::chrono::steady_clock::time_point contact_;
  std::optional<Fault> fault_;
  std::optional<std::string> cause_;  // what an investigation is about; empty: a long wait
  std::optional<std::string> told_;
  std::string about_;                // what the one that goes on is about
  std::vector<std::string> before_;  // signs of life when it began
  std::chrono::steady_clock::time_point since_;
  int64_t heard_ = 0;  // processes that know of the fault
  bool leaving_ = false, stopped_ = false, stops_ = false, saysStop_ = false;
  int64_t left_ = 0;
};

}  // namespace visurf
