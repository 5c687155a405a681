// A device for tests, which stands in for a GPU: its tensors lie in the host's memory and the CPU's kernels compute on
// them, but it refuses what a GPU would refuse (an operand that lies elsewhere), and it notes which kernels were asked
// of it. Nothing of it exists until `startStandIn` is called.
#include "state.h"

#include <ATen/EmptyTensor.h>
#include <ATen/Functions.h>
#include <ATen/core/List.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <mutex>
#include <set>

namespace visurf {

namespace {

constexpr auto kKey = c10::DispatchKey::PrivateUse1;
constexpr auto kType = c10::DeviceType::PrivateUse1;
const c10::Device kHere(kType, 0);

std::mutex notesMutex;
std::set<std::string> notes;

void note(const c10::OperatorName& name) {
  const std::lock_guard lock(notesMutex);
  notes.insert(name.overload_name.empty() ? name.name : name.name + "." + name.overload_name);
}

template <class Owner>
c10::DataPtr ownedBy(void* data, Owner&& owner) {
  auto* kept = new std::decay_t<Owner>(std::forward<Owner>(owner));
  return {data, kept, [](void* each) { delete static_cast<std::decay_t<Owner>*>(each); }, kHere};
}

struct HostMemory final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    auto memory = c10::GetCPUAllocator()->allocate(bytes);
    void* data = memory.get();
    return ownedBy(data, std::move(memory));
  }
  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }
} hostMemory;

bool isHere(const at::Tensor& tensor) { return tensor.defined() && tensor.device().type() == kType; }

// The same memory as a tensor of the CPU.
at::Tensor onHost(const at::Tensor& tensor) {
  if (!isHere(tensor)) return tensor;
  return at::from_blob(
      tensor.data_ptr(), tensor.sizes(), tensor.strides(), [tensor](void*) {}, tensor.options().device(at::kCPU));
}

at::Tensor over(c10::Storage storage, const at::Tensor& like, int64_t offset) {
  auto tensor = at::detail::make_tensor<c10::TensorImpl>(std::move(storage), c10::DispatchKeySet(kKey), like.dtype());
  tensor.unsafeGetTensorImpl()->set_sizes_and_strides(like.sizes(), like.strides(), offset);
  return tensor;
}

// A result of the CPU, whose memory goes over to the device.
at::Tensor takenOver(const at::Tensor& result) {
  if (!result.defined() || isHere(result)) return result;
  const auto& storage = result.storage();
  c10::Storage own(c10::Storage::use_byte_size_t(), storage.nbytes(), ownedBy(storage.mutable_data(), result),
                   &hostMemory, false);
  return over(std::move(own), result, result.storage_offset());
}

// A result of the CPU that looks at memory of `original`.
at::Tensor viewOf(const at::Tensor& original, const at::Tensor& result) {
  const auto* start = static_cast<const char*>(original.storage().data());
  const auto bytes = static_cast<const char*>(result.const_data_ptr()) - start;
  return over(original.storage(), result, result.numel() == 0 ? 0 : bytes / static_cast<int64_t>(result.itemsize()));
}

void requireHere(const c10::OperatorHandle& op, const at::Tensor& tensor) {
  // As on a GPU, a number may come from the CPU.
  if (!tensor.defined() || isHere(tensor) || tensor.dim() == 0) return;
  TORCH_CHECK(false, "Expected all tensors to be on the same device, but ", toString(op.operator_name()),
              " got one on ", tensor.device(), " of shape ", tensor.sizes());
}

// Where an argument is a tensor of the device, or several, calls `replace` on each.
template <class Replace>
void eachTensor(c10::IValue& value, const Replace& replace) {
  if (value.isTensor()) {
    value = replace(value.toTensor());
  } else if (value.isTensorList()) {
    std::vector<at::Tensor> all;
    for (const at::Tensor& each : value.toTensorVector()) all.push_back(replace(each));
    value = all;
  } else if (value.isList() && value.toList().elementType()->isSubtypeOf(*c10::OptionalType::ofTensor())) {
    c10::List<std::optional<at::Tensor>> all;
    for (const c10::IValue& each : value.toListRef())
      all.push_back(each.isNone() ? std::nullopt : std::optional(replace(each.toTensor())));
    value = all;
  }
}

// The argument that a result is, or is a view of; -1 for a new tensor.
int64_t sourceOf(const c10::FunctionSchema& schema, const c10::Argument& result) {
  if (!result.alias_info()) return -1;
  for (size_t i = 0; i < schema.arguments().size(); ++i) {
    const auto* alias = schema.arguments()[i].alias_info();
    if (alias && alias->beforeSets() == result.alias_info()->beforeSets()) return static_cast<int64_t>(i);
  }
  return -1;
}

// Any operator: by the CPU's kernel, on the same memory.
void byHost(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  note(op.operator_name());
  const auto& schema = op.schema();
  const size_t first = stack->size() - schema.arguments().size();
  const std::vector<c10::IValue> given(stack->begin() + static_cast<int64_t>(first), stack->end());
  // Empty tensors that an operator may make room in for its result.
  std::vector<std::pair<at::Tensor, at::Tensor>> grown;
  for (size_t i = first; i < stack->size(); ++i) {
    auto& value = (*stack)[i];
    if (value.isDevice() && value.toDevice().type() == kType) value = c10::Device(at::kCPU);
    const auto* alias = schema.arguments()[i - first].alias_info();
    eachTensor(value, [&](const at::Tensor& each) {
      requireHere(op, each);
      if (!alias || !alias->isWrite() || !isHere(each) || each.numel() > 0) return onHost(each);
      return grown.emplace_back(each, at::empty({0}, each.options().device(at::kCPU))).second;
    });
  }
  op.callBoxed(stack);
  for (const auto& [empty, result] : grown)
    if (result.numel() > 0) empty.unsafeGetTensorImpl()->shallow_copy_from(takenOver(result).getIntrusivePtr());
  const size_t start = stack->size() - schema.returns().size();
  for (size_t i = 0; i < schema.returns().size(); ++i) {
    auto& value = (*stack)[start + i];
    const auto& result = schema.returns()[i];
    const int64_t source = sourceOf(schema, result);
    if (source >= 0 && result.alias_info()->isWrite())
      value = given[static_cast<size_t>(source)];
    else if (source >= 0)
      eachTensor(value,
                 [&](const at::Tensor& each) { return viewOf(given[static_cast<size_t>(source)].toTensor(), each); });
    else
      eachTensor(value, takenOver);
  }
}

at::Tensor emptyHere(c10::IntArrayRef sizes, std::optional<c10::ScalarType> dtype, std::optional<c10::Layout>,
                     std::optional<c10::Device>, std::optional<bool>, std::optional<c10::MemoryFormat> format) {
  const auto type = dtype.value_or(at::kFloat);
  return at::detail::empty_generic(sizes, &hostMemory, c10::DispatchKeySet(kKey), type, format);
}

at::Tensor emptyStridedHere(c10::IntArrayRef sizes, c10::IntArrayRef strides, std::optional<c10::ScalarType> dtype,
                            std::optional<c10::Layout>, std::optional<c10::Device>, std::optional<bool>) {
  const auto type = dtype.value_or(at::kFloat);
  return at::detail::empty_strided_generic(sizes, strides, &hostMemory, c10::DispatchKeySet(kKey), type);
}

// The only operator whose operands may lie on two devices.
at::Tensor copyFrom(const at::Tensor& from, const at::Tensor& to, bool) {
  onHost(to).copy_(onHost(from));
  return to;
}

// One device with one stream, on which everything is done when a call returns.
struct Guard final : c10::impl::NoOpDeviceGuardImpl<kType> {
  c10::Device getDevice() const override { return kHere; }
  c10::Device exchangeDevice(c10::Device) const override { return kHere; }
  c10::Stream getStream(c10::Device) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, kHere); }
  c10::Stream getNewStream(c10::Device, int) const override { return c10::Stream(c10::Stream::DEFAULT, kHere); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, kHere); }
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
};

// The autograd engine asks for the machine's accelerator before it runs a backward pass there.
struct Hooks final : at::PrivateUse1HooksInterface {
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
};

void start(const Napi::CallbackInfo&) {
  static std::once_flag once;
  std::call_once(once, [] {
    static Hooks hooks;
    at::RegisterPrivateUse1HooksInterface(&hooks);
    c10::register_privateuse1_backend("stand_in");
    static const Guard guard;
    static const c10::impl::DeviceGuardImplRegistrar registrar(kType, &guard);
    static torch::Library any(torch::Library::IMPL, "_", kKey, __FILE__, __LINE__);
    any.fallback(torch::CppFunction::makeFromBoxedFunction<&byHost>());
    static torch::Library own(torch::Library::IMPL, "aten", kKey, __FILE__, __LINE__);
    own.impl("empty.memory_format", emptyHere);
    own.impl("empty_strided", emptyStridedHere);
    own.impl("_copy_from", copyFrom);
    own.impl("as_strided", at::native::as_strided_tensorimpl);
    own.impl("view", at::native::view);
    own.impl("_reshape_alias", at::native::_reshape_alias);
  });
}

// standInKernels(): names of the kernels that were asked for since the last call
Napi::Value kernels(const Napi::CallbackInfo& info) {
  const std::lock_guard lock(notesMutex);
  auto names = Napi::Array::New(info.Env(), notes.size());
  uint32_t at = 0;
  for (const auto& each : notes) names.Set(at++, each);
  notes.clear();
  return names;
}

}  // namespace

void requireOneDevice(const Operator& op, const std::vector<c10::IValue>& arguments) {
  static const std::set<std::string> anywhere{
      "visurf::rms_norm",   "visurf::rotate",         "visurf::swiglu",
      "visurf::linear",     "visurf::add_product_",   "visurf::delta_rule",
      "visurf::nf4_linear", "visurf::nf4_dequantize", "visurf::counted_dropout"};
  if (op.name.rfind("visurf::", 0) != 0) return;
  std::optional<c10::Device> device;
  const auto check = [&](const at::Tensor& each) {
    if (!each.defined()) return;
    if (!device) device = each.device();
    TORCH_CHECK(each.device() == *device, "Expected all tensors to be on the same device, but found at least two, ",
                *device, " and ", each.device());
    TORCH_CHECK(each.is_cpu() || anywhere.count(op.name), "this kernel is for the CPU, but a tensor lies on ",
                each.device());
  };
  for (const auto& each : arguments) {
    if (each.isTensor()) check(each.toTensor());
    if (each.isTensorList())
      for (const at::Tensor& one : each.toTensorVector()) check(one);
  }
}

void registerStandIn(Napi::Object exports) {
  expose<start>(exports, "startStandIn");
  expose<kernels>(exports, "standInKernels");
}

}  // namespace visurf
