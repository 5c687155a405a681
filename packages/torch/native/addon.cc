// The module: one `call` that reaches every ATen operator through the dispatcher, and the helpers of the other files.
#include "state.h"

namespace visurf {

namespace {

// resolve(name, overload): an id for `call`
Napi::Value resolve(const Napi::CallbackInfo& info) {
  const std::string name = info[0].As<Napi::String>();
  return guarded(info.Env(), name.c_str(), [&] {
    return Napi::Number::New(info.Env(), State::of(info.Env()).resolve(name, info[1].As<Napi::String>()));
  });
}

bool holdsTensors(const c10::Type& type) {
  if (type.kind() == c10::TypeKind::TensorType) return true;
  return type.containedTypeSize() == 1 && holdsTensors(*type.containedType(0));
}

// results(id): for every result of the operator, whether its numbers are tensor handles
Napi::Value results(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), "results", [&] {
    const auto& op = State::of(info.Env()).operatorAt(info[0].As<Napi::Number>().Uint32Value());
    const auto& returns = op.handle.schema().returns();
    auto array = Napi::Array::New(info.Env(), returns.size());
    for (uint32_t i = 0; i < returns.size(); ++i) array.Set(i, holdsTensors(*returns[i].type()));
    return array;
  });
}

// The tensors a failed call was given. The stack has been consumed, so they are read again.
std::vector<at::Tensor> tensorsOf(const State& state, const Operator& op, const Napi::CallbackInfo& info) {
  std::vector<at::Tensor> tensors;
  const auto append = [&](const Napi::Value& value) {
    if (value.IsNumber() && state.has(value.As<Napi::Number>().Uint32Value())) tensors.push_back(state.get(value));
  };
  for (size_t i = 0; i < op.parameters.size() && i + 1 < info.Length(); ++i) {
    const Kind kind = op.parameters[i].kind;
    const Napi::Value value = info[i + 1];
    if (kind == Kind::Tensor) append(value);
    if ((kind != Kind::TensorList && kind != Kind::OptionalTensorList) || !value.IsArray()) continue;
    auto list = value.As<Napi::Array>();
    for (uint32_t j = 0; j < list.Length(); ++j) append(list.Get(j));
  }
  return tensors;
}

// call(id, ...arguments): tensors are handles; missing arguments take the schema's defaults
Napi::Value call(const Napi::CallbackInfo& info) {
  auto& state = State::of(info.Env());
  const Operator* known = nullptr;
  try {
    const auto& op = *(known = &state.operatorAt(info[0].As<Napi::Number>().Uint32Value()));
    std::vector<c10::IValue> stack;
    stack.reserve(op.parameters.size() + 1);
    pushArguments(state, op, info, 1, stack);
    requireOneDevice(op, stack);
    op.handle.callBoxed(stack);
    if (stack.empty()) return info.Env().Undefined();
    if (stack.size() == 1) return toJavaScript(info.Env(), state, stack[0]);
    auto results = Napi::Array::New(info.Env(), stack.size());
    for (uint32_t i = 0; i < stack.size(); ++i) results.Set(i, toJavaScript(info.Env(), state, stack[i]));
    return results;
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::exception& error) {
    if (!known) throwTorchError(info.Env(), messageOf(error));
    throwTorchError(info.Env(), messageOf(error), known->name, tensorsOf(state, *known, info));
  }
}

void setErrorClass(const Napi::CallbackInfo& info) {
  State::of(info.Env()).torchError = Napi::Persistent(info[0].As<Napi::Function>());
}

napi_value init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new State(env));
  expose<resolve>(exports, "resolve");
  expose<results>(exports, "results");
  expose<call>(exports, "call");
  expose<setErrorClass>(exports, "setErrorClass");
  registerAllocator(exports);
  registerAutograd(exports);
  registerMemory(exports);
  registerGraph(exports);
  registerDevices(exports);
  registerDistributed(exports);
  registerStandIn(exports);
  return exports;
}

}  // namespace

}  // namespace visurf

NAPI_MODULE_INIT() {
  return visurf::contained(env, [&] { return visurf::init(env, Napi::Object(env, exports)); });
}
