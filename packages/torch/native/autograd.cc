// Gradients, grad modes, autocast. No JavaScript runs inside the engine: everything here is synchronous and native.
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <memory>
#include <unordered_set>
#include <vector>

#include "state.h"

namespace visurf {

namespace {

std::vector<at::Tensor> gradOutputs(const State& state, const Napi::Value& value) {
  std::vector<at::Tensor> tensors;
  if (value.IsNull() || value.IsUndefined()) return tensors;
  auto array = value.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Value element = array.Get(i);
    tensors.push_back(element.As<Napi::Number>().Uint32Value() == 0 ? at::Tensor() : state.get(element));
  }
  return tensors;
}

// Ends a pass through a graph at its next node, once a number that others set is not 0 any more.
class Cut {
 public:
  // outputs; the first element of an Int32Array, or undefined: nothing ends it
  Cut(const std::vector<at::Tensor>& outputs, const Napi::Value& number) {
    if (!number.IsTypedArray()) return;
    *number_ = number.As<Napi::Int32Array>().Data();
    std::unordered_set<Node*> seen;
    std::vector<Node*> next;
    const auto meet = [&](Node* node) {
      if (node && seen.insert(node).second) next.push_back(node);
    };
    for (const auto& output : outputs) meet(output.grad_fn().get());
    while (!next.empty()) {
      Node* node = next.back();
      next.pop_back();
      // Leaves stay when the graph is gone, and would collect them.
      if (node->num_outputs() == 0) continue;
      node->add_pre_hook(std::make_unique<Hook>(number_));
      for (const auto& edge : node->next_edges()) meet(edge.function.get());
    }
  }
  // A graph that is kept is not cut by what is over.
  ~Cut() { *number_ = nullptr; }
  Cut(const Cut&) = delete;
  Cut& operator=(const Cut&) = delete;

 private:
  using Node = torch::autograd::Node;
  using Number = std::shared_ptr<const int32_t*>;

  struct Hook : torch::autograd::FunctionPreHook {
    explicit Hook(Number number) : number_(std::move(number)) {}
    torch::autograd::variable_list operator()(const torch::autograd::variable_list& gradients) override {
      const int32_t* number = *number_;
      TORCH_CHECK(!number || __atomic_load_n(number, __ATOMIC_SEQ_CST) == 0, "cut off at a node of the graph");
      return gradients;
    }
    Number number_;
  };

  Number number_ = std::make_shared<const int32_t*>(nullptr);
};

// backward(outputs, gradOutputs | null, retainGraph, what cuts it off)
void backward(const Napi::CallbackInfo& info) {
  guarded(info.Env(), "backward", [&] {
    auto& state = State::of(info.Env());
    const Cut cut(state.getAll(info[0]), info[3]);
    torch::autograd::backward(state.getAll(info[0]), gradOutputs(state, info[1]), info[2].ToBoolean());
  });
}

// grad(outputs, inputs, gradOutputs | null, retainGraph, createGraph, allowUnused, what cuts it off): handles, 0 where
// there is none
Napi::Value grad(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), "grad", [&] {
    auto& state = State::of(info.Env());
    const Cut cut(state.getAll(info[0]), info[6]);
    return state.putAll(info.Env(), torch::autograd::grad(state.getAll(info[0]), state.getAll(info[1]),
                                                          gradOutputs(state, info[2]), info[3].ToBoolean().Value(),
                                                          info[4].ToBoolean().Value(), info[5].ToBoolean().Value()));
  });
}

Napi::Value gradOf(const Napi::CallbackInfo& info) {
  auto& state = State::of(info.Env());
  return guarded(info.Env(), "grad",
                 [&] { return Napi::Number::New(info.Env(), state.put(state.get(info[0]).grad())); });
}

void setGradOf(const Napi::CallbackInfo& info) {
  auto& state = State::of(info.Env());
  guarded(info.Env(), "grad", [&] {
    const auto& tensor = state.get(info[0]);
    if (info[1].As<Napi::Number>().Uint32Value() == 0) {
      tensor.mutable_grad() = at::Tensor();
      return;
    }
    const auto& gradient = state.get(info[1]);
    TORCH_CHECK(gradient.sizes() == tensor.sizes() && gradient.scalar_type() == tensor.scalar_type(),
                "a gradient has the shape and dtype of its tensor, ", tensor.scalar_type(), tensor.sizes(), ", not ",
                gradient.scalar_type(), gradient.sizes());
    tensor.mutable_grad() = gradient;
  });
}

// accumulateGrad(leaf, gradient): leaf.grad += gradient. A first gradient that nobody else refers to is taken as it is.
void accumulateGrad(const Napi::CallbackInfo& info) {
  auto& state = State::of(info.Env());
  guarded(info.Env(), "grad", [&] {
    const at::NoGradGuard noGrad;
    const auto& leaf = state.get(info[0]);
    const auto& gradient = state.get(info[1]);
    if (leaf.grad().defined()) {
      leaf.mutable_grad().add_(gradient);
      return;
    }
    const bool ours = gradient.use_count() == 1 && gradient.storage().use_count() == 1 && gradient.is_contiguous() &&
                      !gradient.requires_grad() && gradient.scalar_type() == leaf.scalar_type();
    leaf.mutable_grad() = ours ? gradient : gradient.detach().to(leaf.scalar_type(), false, true).contiguous();
  });
}

Napi::Value requiresGrad(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), "requires_grad",
                 [&] { return Napi::Boolean::New(info.Env(), State::of(info.Env()).get(info[0]).requires_grad()); });
}

void setRequiresGrad(const Napi::CallbackInfo& info) {
  guarded(info.Env(), "requires_grad_",
          [&] { State::of(info.Env()).get(info[0]).set_requires_grad(info[1].ToBoolean()); });
}

// A weight that autocast casts without a graph would be found in its cache afterwards, and have no gradient.
void switchMode() { at::autocast::clear_cache(); }

Napi::Value setGradEnabled(const Napi::CallbackInfo& info) {
  const bool before = at::GradMode::is_enabled();
  const bool enabled = info[0].ToBoolean();
  if (enabled != before) switchMode();
  at::GradMode::set_enabled(enabled);
  return Napi::Boolean::New(info.Env(), before);
}

Napi::Value isGradEnabled(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), at::GradMode::is_enabled());
}

void enterInferenceMode(const Napi::CallbackInfo& info) {
  switchMode();
  State::of(info.Env()).inferenceModes.push_back(std::make_unique<c10::InferenceMode>());
}

void exitInferenceMode(const Napi::CallbackInfo& info) {
  auto& modes = State::of(info.Env()).inferenceModes;
  if (!modes.empty()) modes.pop_back();
  switchMode();
}

at::DeviceType deviceType(const Napi::Value& value) { return c10::Device(value.As<Napi::String>().Utf8Value()).type(); }

// enterAutocast(device, dtype): [was enabled, dtype before]
Napi::Value enterAutocast(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), "autocast", [&] {
    const auto device = deviceType(info[0]);
    auto before = Napi::Array::New(info.Env(), 2);
    before.Set(0u, Napi::Boolean::New(info.Env(), at::autocast::is_autocast_enabled(device)));
    before.Set(1u, Napi::Number::New(info.Env(), static_cast<int>(at::autocast::get_autocast_dtype(device))));
    const auto dtype = static_cast<at::ScalarType>(info[1].As<Napi::Number>().Int32Value());
    // The cache does not know of dtypes: what the region around this one has cast must not be found here.
    if (dtype != at::autocast::get_autocast_dtype(device)) at::autocast::clear_cache();
    at::autocast::increment_nesting();
    at::autocast::set_autocast_enabled(device, true);
    at::autocast::set_autocast_dtype(device, dtype);
    return before;
  });
}

// exitAutocast(device, was enabled, dtype before)
void exitAutocast(const Napi::CallbackInfo& info) {
  const auto device = deviceType(info[0]);
  const auto before = static_cast<at::ScalarType>(info[2].As<Napi::Number>().Int32Value());
  const bool outermost = at::autocast::decrement_nesting() == 0;
  if (outermost || before != at::autocast::get_autocast_dtype(device)) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(device, info[1].ToBoolean());
  at::autocast::set_autocast_dtype(device, before);
}

void clearAutocastCache(const Napi::CallbackInfo&) { at::autocast::clear_cache(); }

}  // namespace

void registerAutograd(Napi::Object exports) {
  expose<backward>(exports, "backward");
  expose<grad>(exports, "grad");
  expose<gradOf>(exports, "gradOf");
  expose<setGradOf>(exports, "setGradOf");
  expose<accumulateGrad>(exports, "accumulateGrad");
  expose<requiresGrad>(exports, "requiresGrad");
  expose<setRequiresGrad>(exports, "setRequiresGrad");
  expose<setGradEnabled>(exports, "setGradEnabled");
  expose<isGradEnabled>(exports, "isGradEnabled");
  expose<enterInferenceMode>(exports, "enterInferenceMode");
  expose<exitInferenceMode>(exports, "exitInferenceMode");
  expose<enterAutocast>(exports, "enterAutocast");
  expose<exitAutocast>(exports, "exitAutocast");
  expose<clearAutocastCache>(exports, "clearAutocastCache");
}

}  // namespace visurf
