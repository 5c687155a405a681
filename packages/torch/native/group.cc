#define USE_C10D_GLOO 1
#include "group.h"

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <future>
#include <thread>

#include "nccl.h"
#include "state.h"

namespace visurf {

namespace {

using std::chrono::milliseconds;
using Store = c10::intrusive_ptr<c10d::Store>;
using Backend = c10::intrusive_ptr<c10d::Backend>;

// On a thread of its own, which is left behind where nobody waits for its end.
template <class Body>
auto aside(Body body) {
  const auto made = std::make_shared<std::promise<decltype(body())>>();
  auto future = made->get_future();
  std::thread([made, body = std::move(body)] {
    try {
      made->set_value(body());
    } catch (...) {
      made->set_exception(std::current_exception());
    }
  }).detach();
  return future;
}

Store connect(const Meeting& at, bool isServer, milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = at.port;
  options.isServer = isServer;
  options.numWorkers = at.comer.size;
  options.waitWorkers = false;
  options.timeout = timeout;
  auto store = c10::make_intrusive<c10d::TCPStore>(at.host, options);
  store->setTimeout(at.comer.timeout);
  return c10::make_intrusive<c10d::PrefixStore>(at.prefix, std::move(store));
}

// What listens there may be no store, and never answer: whoever waits for that hears of no timeout.
Store connectInTime(const Meeting& at, bool isServer, milliseconds timeout) {
  constexpr milliseconds kPatience(2000);
  auto store = aside([at, isServer, timeout] { return connect(at, isServer, timeout); });
  if (store.wait_for(timeout + kPatience) == std::future_status::ready) return store.get();
  throw std::runtime_error("nothing that listens at " + at.where() + " answers");
}

// The one that hosts the store has to reach it where the others will. Throws Missing where another process hosts one.
Store host(const Meeting& at) {
  constexpr milliseconds kOwn(30000), kOther(3000);
  const auto patience = std::min(at.comer.timeout, kOwn);
  try {
    return connectInTime(at, true, patience);
  } catch (const std::exception& error) {
    if (std::string(error.what()).find("EADDRINUSE") == std::string::npos)
      throw std::runtime_error("rank 0, which listens there, does not reach itself: " + plain(messageOf(error)));
  }
  Store other;
  try {
    other = connectInTime(at, false, kOther);
  } catch (const std::exception&) {
    throw std::runtime_error("another program listens at port " + std::to_string(at.port) + " of this machine");
  }
  turnAway(*other, at.comer);
}

Store reach(const Meeting& at, milliseconds timeout) {
  if (at.hosted && at.comer.rank == 0) return host(at);
  try {
    return connectInTime(at, false, timeout);
  } catch (const std::exception&) {
    if (!at.hosted) throw;
    throw Missing({{0}, "rank 0 is not at " + at.where()});
  }
}

Backend glooBackend(const Store& store, const Meeting& at, std::shared_ptr<gloo::transport::Device> device) {
  auto options = c10d::ProcessGroupGloo::Options::create(at.comer.timeout);
  options->devices.push_back(std::move(device));
  return c10::make_intrusive<c10d::ProcessGroupGloo>(c10::make_intrusive<c10d::PrefixStore>("gloo", store),
                                                     at.comer.rank, at.comer.size, options);
}

// The network that others reach this process by.
std::shared_ptr<gloo::transport::Device> networkOf(const Meeting& at) {
  const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
  try {
    return interface ? c10d::ProcessGroupGloo::createDeviceForInterface(interface)
                     : c10d::ProcessGroupGloo::createDeviceForHostname(at.address);
  } catch (const std::exception& error) {
    const auto name = interface ? "GLOO_SOCKET_IFNAME=" + std::string(interface) : at.address;
    throw std::runtime_error("no network by " + name + ": " + plain(messageOf(error)));
  }
}

// Where the connection is lost nobody hears it.
void decline(c10d::Store& store, const Comer& comer, const std::string& why) {
  try {
    callOff(store, comer, why);
  } catch (const std::exception&) {
  }
}

// While the processes connect to each other one of them may be lost.
template <class Body>
auto watched(Watch& watch, Body body) {
  using Clock = std::chrono::steady_clock;
  constexpr milliseconds kTurn(200), kLong(5000);
  auto made = aside(std::move(body));
  for (auto since = Clock::now(); made.wait_for(kTurn) != std::future_status::ready;) {
    if (const auto fault = watch.fault()) throw Missing(*fault);
    if (Clock::now() - since > kLong) watch.suspect();
  }
  return made.get();
}

}  // namespace

std::shared_ptr<Group> makeGroup(const Meeting& at, const std::function<void(const std::vector<int>&)>& awaits) {
  const auto& comer = at.comer;
  auto made = std::make_shared<Group>();
  made->timeout = comer.timeout;
  made->store = reach(at, comer.timeout);
  std::shared_ptr<gloo::transport::Device> network;
  try {
    network = networkOf(at);
  } catch (const std::exception& error) {
    decline(*made->store, comer, error.what());
    throw;
  }
  try {
    enter(*made->store, comer);
    // A connection of its own: one that waits for an answer holds up whoever else would ask.
    made->watch = std::make_shared<Watch>(connectInTime(at, false, comer.timeout), comer.rank, comer.size, at.hosted);
    meet(*made->store, comer, awaits);
  } catch (const Missing&) {
    throw;
  } catch (const std::exception&) {
    if (comer.hosts || !at.hosted) throw;
    throw Missing({{0}, "rank 0 is gone: the connection to it is lost"});
  }
  made->watch->start();
  try {
    made->gloo = watched(*made->watch, [store = made->store, at, network] { return glooBackend(store, at, network); });
    if (at.cards)
      made->nccl = ncclBackend(c10::make_intrusive<c10d::PrefixStore>("nccl", made->store), comer.rank, comer.size,
                               comer.timeout);
  } catch (const Missing&) {
    throw;
  } catch (const std::exception& error) {
    throw Missing(made->watch->investigate(messageOf(error)));
  }
  return made;
}

void declineTo(const Meeting& at, const std::string& why) { decline(*reach(at, at.comer.timeout), at.comer, why); }

}  // namespace visurf
