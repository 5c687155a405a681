// Signals to a program whose event loop is busy: a handler that counts them where JavaScript can see it in the middle
// of its work, and a thread that ends the process where nothing answers in time. Needs no libtorch, so that it is there
// from the first moment of every command on.
#include <fcntl.h>
#include <node_api.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <mutex>
#include <set>
#include <string>
#include <thread>

namespace {

constexpr int signals[] = {SIGINT, SIGTERM, SIGHUP};
constexpr int interrupted = 130;

using Clock = std::chrono::steady_clock;

// Unanswered signals, and how much work may not be cut off. Read by JavaScript, and never freed: the thread goes on.
struct Shared {
  int32_t unanswered = 0;
  int32_t held = 0;
};
Shared shared;
struct sigaction before[NSIG];
int wake[2] = {-1, -1};

// What `end` needs; never freed, since the thread outlives everything.
struct Kept {
  std::mutex mutex;
  std::string lastWords;
  std::string patience;
  std::set<std::string> temporaries;
  std::set<pid_t> companions;
};
Kept& kept = *new Kept;

void onSignal(int number) {
  const int error = errno;
  __atomic_add_fetch(&shared.unanswered, 1, __ATOMIC_SEQ_CST);
  const char byte = 1;
  if (write(wake[1], &byte, 1) < 0) errno = error;
  // The handler of libuv, which wakes the event loop.
  const auto next = before[number].sa_handler;
  if (next != SIG_DFL && next != SIG_IGN) next(number);
  errno = error;
}

void say(const std::string& text) {
  if (!text.empty() && write(STDERR_FILENO, text.data(), text.size()) < 0) return;
}

[[noreturn]] void end() {
  const std::lock_guard<std::mutex> lock(kept.mutex);
  for (const pid_t each : kept.companions) kill(each, SIGKILL);
  std::error_code ignored;
  // Twice: another thread may be writing them.
  for (int round = 0; round < 2; ++round)
    for (const auto& each : kept.temporaries) std::filesystem::remove_all(each, ignored);
  say(kept.lastWords);
  _exit(interrupted);
}

// Waits for a byte of the handler. Whether one came in time.
bool signalled(int milliseconds) {
  pollfd entry{wake[0], POLLIN, 0};
  char bytes[64];
  return poll(&entry, 1, milliseconds) > 0 && read(wake[0], bytes, sizeof bytes) > 0;
}

int32_t load(const int32_t& value) { return __atomic_load_n(&value, __ATOMIC_SEQ_CST); }

void watch(std::chrono::milliseconds grace) {
#ifdef __linux__
  pthread_setname_np(pthread_self(), "signals");
#endif
  for (;;) {
    if (!signalled(-1)) continue;
    auto deadline = Clock::now() + grace;
    bool isToldToWait = false;
    while (load(shared.unanswered) > 0) {
      if (load(shared.unanswered) > 1) end();
      if (Clock::now() < deadline) {
        signalled(20);
      } else if (load(shared.held) == 0) {
        // Once more after work that was held: what called it has something to say.
        if (!isToldToWait) end();
        isToldToWait = false;
        deadline = Clock::now() + grace;
      } else {
        if (!isToldToWait) {
          const std::lock_guard<std::mutex> lock(kept.mutex);
          say(kept.patience);
        }
        isToldToWait = true;
        signalled(20);
      }
    }
  }
}

std::string textOf(napi_env env, napi_value value) {
  size_t size = 0;
  napi_get_value_string_utf8(env, value, nullptr, 0, &size);
  std::string text(size, '\0');
  napi_get_value_string_utf8(env, value, text.data(), size + 1, &size);
  return text;
}

// start(milliseconds): two numbers of 32 bits, shared with this file
napi_value start(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument;
  napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr);
  int32_t milliseconds = 0;
  napi_get_value_int32(env, argument, &milliseconds);
  if (wake[0] < 0) {
    if (pipe(wake) != 0) return nullptr;
    for (const int end : wake) fcntl(end, F_SETFD, FD_CLOEXEC);
    fcntl(wake[1], F_SETFL, O_NONBLOCK);
    std::thread(watch, std::chrono::milliseconds(milliseconds)).detach();
    for (const int number : signals) {
      sigaction(number, nullptr, &before[number]);
      struct sigaction action = before[number];
      action.sa_handler = onSignal;
      sigaction(number, &action, nullptr);
    }
  }
  napi_value buffer;
  napi_create_external_arraybuffer(env, &shared, sizeof shared, nullptr, nullptr, &buffer);
  return buffer;
}

// speak(lastWords, patience): what is said where the process is ended, and where it first has to finish something
napi_value speak(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value arguments[2];
  napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr);
  const std::string texts[] = {textOf(env, arguments[0]), textOf(env, arguments[1])};
  const std::lock_guard<std::mutex> lock(kept.mutex);
  kept.lastWords = texts[0];
  kept.patience = texts[1];
  return nullptr;
}

// keep(isThere, file or process): what is removed, or killed, where the process is ended
napi_value keep(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value arguments[2];
  napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr);
  bool isThere = false;
  napi_get_value_bool(env, arguments[0], &isThere);
  int32_t process = 0;
  const bool isProcess = napi_get_value_int32(env, arguments[1], &process) == napi_ok;
  const std::string file = isProcess ? "" : textOf(env, arguments[1]);
  const std::lock_guard<std::mutex> lock(kept.mutex);
  if (isProcess && isThere)
    kept.companions.insert(process);
  else if (isProcess)
    kept.companions.erase(process);
  else if (isThere)
    kept.temporaries.insert(file);
  else
    kept.temporaries.erase(file);
  return nullptr;
}

// stop(): ends the process as the thread does
napi_value stop(napi_env, napi_callback_info) { end(); }

// leave(code): ends the process with nothing more to do
napi_value leave(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument;
  int32_t code = interrupted;
  napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr);
  napi_get_value_int32(env, argument, &code);
  _exit(code);
}

napi_value init(napi_env env, napi_value exports) {
  const napi_property_descriptor properties[] = {
      {"start", nullptr, start, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"speak", nullptr, speak, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"stop", nullptr, stop, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"leave", nullptr, leave, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"keep", nullptr, keep, nullptr, nullptr, nullptr, napi_default, nullptr},
  };
  napi_define_properties(env, exports, std::size(properties), properties);
  return exports;
}

}  // namespace

NAPI_MODULE(NODE_GYP_MODULE_NAME, init)
