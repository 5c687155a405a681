// Collectives between processes (c10d), for JavaScript. A process belongs to one group at a time.
#include <c10/util/Logging.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "group.h"
#include "nccl.h"
#include "state.h"

namespace visurf {

namespace {

using std::chrono::milliseconds;
using Work = c10::intrusive_ptr<c10d::Work>;

std::mutex lock;
std::shared_ptr<Group> joined;
std::optional<Fault> failed;              // why there is no group any more, or never was
std::optional<std::vector<int>> missing;  // who had not come when last looked for

std::shared_ptr<Group> group() {
  const std::lock_guard<std::mutex> guard(lock);
  if (!joined) throw std::runtime_error("this process has joined no others");
  return joined;
}

void fail(const Fault& fault) {
  const std::lock_guard<std::mutex> guard(lock);
  failed = fault;
}

void keepMissing(const std::vector<int>& ranks) {
  const std::lock_guard<std::mutex> guard(lock);
  missing = ranks;
}

// Comes back when the work is done by all, on a card, too. Throws what is known of who is missing.
void finish(Group& group, c10d::Work& work, const std::function<void()>& after) {
  using Clock = std::chrono::steady_clock;
  constexpr milliseconds kTurn(200), kLong(20000);
  constexpr std::chrono::microseconds kShortest(20), kLongest(1000);
  const auto begin = Clock::now();
  auto looked = begin;
  try {
    while (!work.isCompleted()) {
      const auto now = Clock::now();
      const auto waited = std::chrono::duration_cast<std::chrono::microseconds>(now - begin);
      // Longer the longer it takes: what is short is not made long by it, and who waits leaves the processor to others.
      std::this_thread::sleep_for(std::clamp(waited / 8, kShortest, kLongest));
      if (now - looked < kTurn) continue;
      looked = now;
      if (const auto fault = group.watch->fault()) throw Missing(*fault);
      if (waited > kLong) group.watch->suspect();
      if (waited > group.timeout + 2 * kTurn)
        throw std::runtime_error("nothing came within " + std::to_string(group.timeout.count() / 1000) + " s");
    }
    work.wait();
    if (after) after();
  } catch (const Missing& missing) {
    fail(missing.fault);
    throw;
  } catch (const std::exception& error) {
    const Fault fault = group.watch->investigate(messageOf(error));
    fail(fault);
    throw Missing(fault);
  }
}

// A promise for work on a thread of its own. Node's pool has few threads, and one would be taken for minutes.
class Waiter {
 public:
  template <class Body>
  static Napi::Value start(Napi::Env env, Body body) {
    auto* waiter = new Waiter(env);
    const auto promise = waiter->deferred_.Promise();
    std::thread([waiter, toMain = waiter->toMain_, body = std::move(body)]() mutable {
      try {
        body();
      } catch (const std::exception& error) {
        waiter->error_ = messageOf(error);
      }
      // Nobody is left to be told where the environment has gone down.
      if (toMain.BlockingCall(waiter, settle) == napi_ok) toMain.Release();
    }).detach();
    return promise;
  }

 private:
  explicit Waiter(Napi::Env env)
      : deferred_(Napi::Promise::Deferred::New(env)),
        toMain_(Napi::ThreadSafeFunction::New(env, Napi::Function::New(env, [](const Napi::CallbackInfo&) {}),
                                              "collective", 0, 1)) {}

  static void settle(Napi::Env env, Napi::Function, Waiter* waiter) {
    const std::unique_ptr<Waiter> owned(waiter);
    if (static_cast<napi_env>(env) == nullptr) return;
    const Napi::HandleScope scope(env);
    if (!owned->error_) return owned->deferred_.Resolve(env.Undefined());
    auto error = State::of(env).torchError.New(
        {Napi::String::New(env, *owned->error_), Napi::String::New(env, ""), Napi::String::New(env, "")});
    owned->deferred_.Reject(error);
  }

  Napi::Promise::Deferred deferred_;
  Napi::ThreadSafeFunction toMain_;
  std::optional<std::string> error_;
};

std::string textOf(const Napi::Object& options, const char* key) { return options.Get(key).As<Napi::String>(); }
int numberOf(const Napi::Object& options, const char* key) { return options.Get(key).As<Napi::Number>(); }

Napi::Array listOf(Napi::Env env, const std::vector<int>& numbers) {
  auto list = Napi::Array::New(env);
  for (uint32_t i = 0; i < numbers.size(); ++i) list.Set(i, Napi::Number::New(env, numbers[i]));
  return list;
}

Meeting meetingOf(const Napi::Object& options) {
  Meeting at;
  at.host = textOf(options, "host");
  at.prefix = textOf(options, "prefix");
  at.address = textOf(options, "address");
  at.port = static_cast<uint16_t>(numberOf(options, "port"));
  at.hosted = options.Get("hosted").As<Napi::Boolean>();
  at.cards = options.Get("cards").As<Napi::Boolean>();
  auto& comer = at.comer;
  comer.rank = numberOf(options, "rank");
  comer.size = numberOf(options, "size");
  comer.timeout = milliseconds(options.Get("timeout").As<Napi::Number>().Int64Value());
  comer.hosts = at.hosted && comer.rank == 0;
  // Tensors of cards go the same way in all.
  const auto* device = !at.cards ? "cpu" : hasNccl() ? "cuda, and NCCL" : "cuda, and no NCCL";
  comer.terms =
      "WORLD_SIZE " + std::to_string(comer.size) + "\n" + textOf(options, "terms") + "device " + device + "\n";
  // c10d writes a trace for every connection that is lost; what is wrong is said by what is thrown.
  setenv("TORCH_CPP_LOG_LEVEL", "FATAL", 0);
  c10::initLogging();
  return at;
}

// join({host, port, prefix, address, rank, size, terms, timeout, hosted, cards}): a promise; terms: lines "NAME VALUE",
// timeout in milliseconds
Napi::Value join(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), "join", [&] {
    const auto at = meetingOf(info[0].As<Napi::Object>());
    {
      const std::lock_guard<std::mutex> guard(lock);
      if (joined) throw std::runtime_error("this process has joined others already");
      failed.reset();
      missing.reset();
    }
    return Waiter::start(info.Env(), [at] {
      try {
        auto made = makeGroup(at, keepMissing);
        const std::lock_guard<std::mutex> guard(lock);
        joined = std::move(made);
      } catch (const Missing& missing) {
        fail(missing.fault);
        throw;
      }
    });
  });
}

// decline(options of join, why): a promise
Napi::Value decline(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), "decline", [&] {
    const auto at = meetingOf(info[0].As<Napi::Object>());
    const std::string why = info[1].As<Napi::String>();
    return Waiter::start(info.Env(), [at, why] { declineTo(at, why); });
  });
}

// awaited(): who has not come; undefined where nobody has looked yet
Napi::Value awaited(const Napi::CallbackInfo& info) {
  const std::lock_guard<std::mutex> guard(lock);
  if (!missing) return info.Env().Undefined();
  return listOf(info.Env(), *missing);
}

// A collective on its way. It holds its tensors, until it is waited for.
struct Begun {
  std::shared_ptr<Group> group;
  Work work;
  std::function<void()> after;  // what is left to do when it is done
};

template <class Body>
Napi::Value begin(const Napi::CallbackInfo& info, const char* name, const at::Tensor& tensor, Body&& body) {
  auto joined = group();
  const auto& backend = joined->of(tensor);
  if (!backend) throw std::runtime_error("nothing here carries tensors of " + tensor.device().str());
  joined->watch->begin();
  auto* begun = new Begun{joined, body(*backend), {}};
  return Napi::External<Begun>::New(info.Env(), begun, [](Napi::Env, Begun* each) { delete each; });
}

const at::Tensor& tensorAt(const Napi::CallbackInfo& info, size_t i) { return State::of(info.Env()).get(info[i]); }

c10d::ReduceOp reduction(const Napi::Value& name) {
  const std::string text = name.As<Napi::String>();
  if (text == "max") return c10d::ReduceOp::MAX;
  if (text == "min") return c10d::ReduceOp::MIN;
  return c10d::ReduceOp::SUM;
}

// allReduce(tensor, "sum" | "max" | "min"), in place
Napi::Value allReduce(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), "allReduce", [&] {
    return begin(info, "allReduce", tensorAt(info, 0), [&](c10d::Backend& backend) {
      std::vector<at::Tensor> tensors{tensorAt(info, 0)};
      c10d::AllreduceOptions options;
      options.reduceOp = reduction(info[1]);
      return backend.allreduce(tensors, options);
    });
  });
}

// reduceScatter(out [n], in [size n]): sums. Gloo adds up all of it, and its own way to say so cannot be asked whether
// it is done.
Napi::Value reduceScatter(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), "reduceScatter", [&] {
    at::Tensor out = tensorAt(info, 0), in = tensorAt(info, 1);
    if (!out.is_cpu())
      return begin(info, "reduceScatter", out,
                   [&](c10d::Backend& backend) { return backend._reduce_scatter_base(out, in); });
    std::vector<at::Tensor> whole{in.clone()};
    int rank = 0;
    const auto sum = [&](c10d::Backend& backend) {
      rank = backend.getRank();
      return backend.allreduce(whole);
    };
    const auto collective = begin(info, "reduceScatter", out, sum);
    collective.As<Napi::External<Begun>>().Data()->after = [out, whole = whole[0], rank] {
      const at::NoGradGuard guard;
      out.copy_(whole.reshape(-1).narrow(0, rank * out.numel(), out.numel()).view(out.sizes()));
    };
    return collective;
  });
}

// allGather(out [size n], in [n])
Napi::Value allGather(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), "allGather", [&] {
    return begin(info, "allGather", tensorAt(info, 0), [&](c10d::Backend& backend) {
      at::Tensor out = tensorAt(info, 0), in = tensorAt(info, 1);
      return backend._allgather_base(out, in);
    });
  });
}

// broadcast(tensor, rank), in place
Napi::Value broadcast(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), "broadcast", [&] {
    return begin(info, "broadcast", tensorAt(info, 0), [&](c10d::Backend& backend) {
      std::vector<at::Tensor> tensors{tensorAt(info, 0)};
      c10d::BroadcastOptions options;
      options.rootRank = info[1].As<Napi::Number>();
      return backend.broadcast(tensors, options);
    });
  });
}

Begun taken(const Napi::Value& collective) {
  Begun begun = std::exchange(*collective.As<Napi::External<Begun>>().Data(), {});
  if (!begun.work) throw std::runtime_error("a collective is waited for once");
  return begun;
}

// await(collective): on this thread
void await(const Napi::CallbackInfo& info) {
  guarded(info.Env(), "", [&] {
    const Begun begun = taken(info[0]);
    finish(*begun.group, *begun.work, begun.after);
  });
}

// whenDone(collective): a promise
Napi::Value whenDone(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), "", [&] {
    return Waiter::start(info.Env(), [begun = taken(info[0])] { finish(*begun.group, *begun.work, begun.after); });
  });
}

// fault(): {ranks, text} once the processes cannot go on together
Napi::Value fault(const Napi::CallbackInfo& info) {
  const std::lock_guard<std::mutex> guard(lock);
  auto known = failed;
  if (!known && joined) known = joined->watch->fault();
  if (!known) return info.Env().Undefined();
  auto result = Napi::Object::New(info.Env());
  result.Set("ranks", listOf(info.Env(), known->ranks));
  result.Set("text", known->text);
  return result;
}

// carriesCards(): whether tensors of cards travel without a detour
Napi::Value carriesCards(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), group()->nccl != nullptr);
}

// stopAll(): asks all to stop in good order
void stopAll(const Napi::CallbackInfo& info) {
  guarded(info.Env(), "stopAll", [&] { group()->watch->askToStop(); });
}

// isStopping(): whether some process has asked for it
Napi::Value isStopping(const Napi::CallbackInfo& info) {
  const std::lock_guard<std::mutex> guard(lock);
  return Napi::Boolean::New(info.Env(), joined && joined->watch->stops());
}

// leave(text?): at the end that all have come to; or, with what went wrong, without the others
void leave(const Napi::CallbackInfo& info) {
  guarded(info.Env(), "leave", [&] {
    std::shared_ptr<Group> left;
    {
      const std::lock_guard<std::mutex> guard(lock);
      left.swap(joined);
    }
    if (!left) return;
    if (info[0].IsString()) {
      left->watch->tell(info[0].As<Napi::String>());
      // What is on its way waits for others, and its end for it: the process ends soon.
      new std::shared_ptr<Group>(std::move(left));
    } else {
      left->watch->leave();
    }
  });
}

}  // namespace

void registerDistributed(Napi::Object exports) {
  expose<join>(exports, "join");
  expose<decline>(exports, "decline");
  expose<awaited>(exports, "awaited");
  expose<allReduce>(exports, "allReduce");
  expose<reduceScatter>(exports, "reduceScatter");
  expose<allGather>(exports, "allGather");
  expose<broadcast>(exports, "broadcast");
  expose<await>(exports, "await");
  expose<whenDone>(exports, "whenDone");
  expose<fault>(exports, "fault");
  expose<carriesCards>(exports, "carriesCards");
  expose<stopAll>(exports, "stopAll");
  expose<isStopping>(exports, "isStopping");
  expose<leave>(exports, "leave");
}

}  // namespace visurf
