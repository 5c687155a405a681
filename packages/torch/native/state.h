// Per-environment state: tensor handles, resolved operators, generators. Worker threads have their own, so no statics.
#pragma once
#include <napi.h>

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/flat_hash_map.h>

#include <memory>
#include <string>
#include <type_traits>
#include <vector>

namespace visurf {

// How one argument of an operator is read from JavaScript, worked out once from its schema.
enum class Kind {
  Tensor,
  TensorList,
  OptionalTensorList,
  Int,
  IntList,
  Float,
  FloatList,
  Bool,
  BoolList,
  Scalar,
  ScalarList,
  OptionalScalarList,
  String,
  Device,
  Generator,
};

struct Parameter {
  Kind kind;
  bool optional;
  int32_t listLength;  // int[2] takes one number for both; 0 where the schema fixes no length
  std::string name;
  std::optional<c10::IValue> fallback;
};

struct Operator {
  c10::OperatorHandle handle;
  std::string name;
  std::vector<Parameter> parameters;
};

class State {
 public:
  explicit State(Napi::Env env) : env_(env) {}
  ~State();
  static State& of(Napi::Env env) { return *env.GetInstanceData<State>(); }

  // Handle 0 stands for "no tensor".
  uint32_t put(at::Tensor tensor);
  bool has(uint32_t handle) const { return handle < slots_.size() && slots_[handle].tensor.defined(); }
  const at::Tensor& get(uint32_t handle) const;
  const at::Tensor& get(const Napi::Value& value) const;
  std::vector<at::Tensor> getAll(const Napi::Value& list) const;
  Napi::Value putAll(Napi::Env env, std::vector<at::Tensor> tensors);
  void release(uint32_t handle);

  uint32_t resolve(const std::string& name, const std::string& overload);
  const Operator& operatorAt(uint32_t id) const { return operators_.at(id); }

  uint32_t putGenerator(at::Generator generator);
  at::Generator& generatorAt(uint32_t id) { return generators_.at(id); }
  void releaseGenerator(uint32_t id);

  size_t liveHandles = 0;
  int64_t liveBytes = 0;
  std::vector<std::unique_ptr<c10::InferenceMode>> inferenceModes;
  // Of graph.cc, whose types need the headers of CUDA.
  std::map<uint32_t, std::shared_ptr<void>> recordings;
  uint32_t lastRecording = 0;
  Napi::FunctionReference torchError;

 private:
  struct Slot {
    at::Tensor tensor;
    const c10::StorageImpl* storage = nullptr;  // the key of what this handle holds in `storages_`
  };
  struct Holding {
    size_t handles = 0;
    int64_t bytes = 0;
  };
  void account(int64_t bytes);
  const c10::StorageImpl* hold(const at::Tensor& tensor);
  void letGo(const c10::StorageImpl* storage);

  Napi::Env env_;
  std::vector<Slot> slots_{Slot{}};
  std::vector<uint32_t> freeSlots_;
  std::vector<Operator> operators_;
  ska::flat_hash_map<const c10::StorageImpl*, Holding> storages_;
  std::vector<at::Generator> generators_;
  std::vector<uint32_t> freeGenerators_;
  int64_t unreportedBytes_ = 0;
};

// Reads the arguments of a call from JavaScript onto the dispatcher's stack, by the operator's schema.
void pushArguments(State& state, const Operator& op, const Napi::CallbackInfo& info, size_t first,
                   std::vector<c10::IValue>& stack);
Parameter describe(const c10::Argument& argument);
Napi::Value toJavaScript(Napi::Env env, State& state, const c10::IValue& value);
// The device of that name, with its number; it is made ready for use.
c10::Device deviceOf(const Napi::Value& name);
// The number as JavaScript has it; throws where an int64 does not fit in a double.
double exactDouble(int64_t value);

// The message alone: `what()` of libtorch's errors carries a C++ backtrace.
const char* messageOf(const std::exception& error);
[[noreturn]] void throwTorchError(Napi::Env env, const std::string& message, const std::string& op = "",
                                  const std::vector<at::Tensor>& tensors = {});

// Runs `body` and turns every C++ exception into a TorchError.
template <class Body>
auto guarded(Napi::Env env, const char* where, Body&& body) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::exception& error) {
    throwTorchError(env, messageOf(error), where);
  }
}

// Tells JavaScript of the exception that is being handled. An environment that is going down takes none, and that is no
// failure: nobody is left to be told.
void raise(napi_env env) noexcept;

// What is called from outside runs in here: the caller is no C++, and no exception may reach it.
template <class Body>
napi_value contained(napi_env env, Body&& body) noexcept {
  try {
    return body();
  } catch (...) {
    raise(env);
    return nullptr;
  }
}

template <auto body>
napi_value entry(napi_env env, napi_callback_info info) noexcept {
  return contained(env, [&]() -> napi_value {
    const Napi::CallbackInfo call(env, info);
    if constexpr (std::is_void_v<decltype(body(call))>)
      return body(call), nullptr;
    else
      return body(call);
  });
}

// The only way in which functions are exported.
template <auto body>
void expose(Napi::Object exports, const char* name) {
  napi_value function = nullptr;
  if (napi_create_function(exports.Env(), name, NAPI_AUTO_LENGTH, entry<body>, nullptr, &function) != napi_ok)
    throw Napi::Error::New(exports.Env());
  exports.Set(name, function);
}

void registerAllocator(Napi::Object exports);
void registerAutograd(Napi::Object exports);
void registerMemory(Napi::Object exports);
void registerGraph(Napi::Object exports);
void registerDevices(Napi::Object exports);
void registerDistributed(Napi::Object exports);
void registerStandIn(Napi::Object exports);

// Kernels of ours read memory themselves: throws where it is not that of the CPU, or of one device.
void requireOneDevice(const Operator& op, const std::vector<c10::IValue>& arguments);

}  // namespace visurf
