#include "state.h"

#include <ATen/autocast_mode.h>
#include <node_api.h>

#include <sstream>

namespace visurf {

namespace {
// V8 is told of native memory in steps: every call may start a garbage collection.
constexpr int64_t kReportStep = 16 << 20;
}  // namespace

// Also where a thread was ended amid its work: guards end in the order opposite to their beginnings, and what autocast
// has cast, which all threads share, does not outlive the weights.
State::~State() {
  while (!inferenceModes.empty()) inferenceModes.pop_back();
  at::autocast::clear_cache();
}

void State::account(int64_t bytes) {
  liveBytes += bytes;
  unreportedBytes_ += bytes;
  if (unreportedBytes_ > kReportStep || unreportedBytes_ < -kReportStep) {
    int64_t total = 0;
    napi_adjust_external_memory(env_, unreportedBytes_, &total);
    unreportedBytes_ = 0;
  }
}

// A storage counts once, however many handles look at it; one on a device is none of the host's memory.
const c10::StorageImpl* State::hold(const at::Tensor& tensor) {
  if (!tensor.has_storage()) return nullptr;
  const auto* storage = tensor.storage().unsafeGetStorageImpl();
  auto& holding = storages_[storage];
  if (holding.handles++ == 0) {
    holding.bytes = tensor.is_cpu() ? static_cast<int64_t>(storage->nbytes()) : 0;
    account(holding.bytes);
  }
  return storage;
}

void State::letGo(const c10::StorageImpl* storage) {
  if (!storage) return;
  const auto found = storages_.find(storage);
  if (--found->second.handles > 0) return;
  account(-found->second.bytes);
  storages_.erase(found);
}

uint32_t State::put(at::Tensor tensor) {
  if (!tensor.defined()) return 0;
  const auto* storage = hold(tensor);
  uint32_t handle;
  if (freeSlots_.empty()) {
    handle = static_cast<uint32_t>(slots_.size());
    slots_.push_back(Slot{std::move(tensor), storage});
  } else {
    handle = freeSlots_.back();
    freeSlots_.pop_back();
    slots_[handle] = Slot{std::move(tensor), storage};
  }
  ++liveHandles;
  return handle;
}

const at::Tensor& State::get(uint32_t handle) const {
  if (!has(handle))
    throw std::runtime_error("the tensor was disposed (a handle made inside scope() lives until the scope ends)");
  return slots_[handle].tensor;
}

const at::Tensor& State::get(const Napi::Value& value) const {
  if (!value.IsNumber()) throw std::runtime_error("expected a tensor");
  return get(value.As<Napi::Number>().Uint32Value());
}

std::vector<at::Tensor> State::getAll(const Napi::Value& list) const {
  auto array = list.As<Napi::Array>();
  std::vector<at::Tensor> tensors;
  tensors.reserve(array.Length());
  for (uint32_t i = 0; i < array.Length(); ++i) tensors.push_back(get(array.Get(i)));
  return tensors;
}

Napi::Value State::putAll(Napi::Env env, std::vector<at::Tensor> tensors) {
  auto array = Napi::Array::New(env, tensors.size());
  for (uint32_t i = 0; i < tensors.size(); ++i) array.Set(i, Napi::Number::New(env, put(std::move(tensors[i]))));
  return array;
}

void State::release(uint32_t handle) {
  get(handle);
  auto& slot = slots_[handle];
  letGo(slot.storage);
  slot = Slot{};
  freeSlots_.push_back(handle);
  --liveHandles;
}

uint32_t State::resolve(const std::string& name, const std::string& overload) {
  auto handle = c10::Dispatcher::singleton().findSchema({name, overload});
  if (!handle) {
    throw std::runtime_error("this libtorch has no operator " + name + (overload.empty() ? "" : "." + overload));
  }
  Operator op{*handle, name + (overload.empty() ? "" : "." + overload), {}};
  for (const auto& argument : handle->schema().arguments()) op.parameters.push_back(describe(argument));
  operators_.push_back(std::move(op));
  return static_cast<uint32_t>(operators_.size() - 1);
}

uint32_t State::putGenerator(at::Generator generator) {
  if (freeGenerators_.empty()) {
    generators_.push_back(std::move(generator));
    return static_cast<uint32_t>(generators_.size() - 1);
  }
  const uint32_t id = freeGenerators_.back();
  freeGenerators_.pop_back();
  generators_[id] = std::move(generator);
  return id;
}

void State::releaseGenerator(uint32_t id) {
  generators_.at(id) = at::Generator();
  freeGenerators_.push_back(id);
}

const char* messageOf(const std::exception& error) {
  const auto* torchError = dynamic_cast<const c10::Error*>(&error);
  return torchError ? torchError->what_without_backtrace() : error.what();
}

void throwTorchError(Napi::Env env, const std::string& message, const std::string& op,
                     const std::vector<at::Tensor>& tensors) {
  std::ostringstream shapes;
  for (const auto& tensor : tensors)
    shapes << (&tensor == &tensors.front() ? "" : ", ") << c10::toString(tensor.scalar_type()) << tensor.sizes();
  auto& state = State::of(env);
  Napi::Value error = state.torchError.New(
      {Napi::String::New(env, message), Napi::String::New(env, op), Napi::String::New(env, shapes.str())});
  throw Napi::Error(env, error);
}

void raise(napi_env env) noexcept {
  try {
    throw;
  } catch (const Napi::Error& error) {
    try {
      error.ThrowAsJavaScriptException();
    } catch (...) {
    }
  } catch (const std::exception& error) {
    napi_throw_error(env, nullptr, messageOf(error));
  } catch (...) {
    napi_throw_error(env, nullptr, "an exception that is no std::exception");
  }
}

}  // namespace visurf
