// Between JavaScript values and the dispatcher's, by the operator's schema.
#include <ATen/core/ivalue.h>
#include <ATen/core/jit_type.h>

#include <cmath>

#include "state.h"

namespace visurf {

namespace {

constexpr double kMaxSafeInteger = 9007199254740991.0;

Kind scalarKind(const c10::Type& type) {
  switch (type.kind()) {
    case c10::TypeKind::TensorType: return Kind::Tensor;
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType:
    case c10::TypeKind::ScalarTypeType:
    case c10::TypeKind::LayoutType:
    case c10::TypeKind::MemoryFormatType: return Kind::Int;
    case c10::TypeKind::FloatType:
    case c10::TypeKind::SymFloatType: return Kind::Float;
    case c10::TypeKind::BoolType:
    case c10::TypeKind::SymBoolType: return Kind::Bool;
    case c10::TypeKind::NumberType: return Kind::Scalar;
    case c10::TypeKind::StringType: return Kind::String;
    case c10::TypeKind::DeviceObjType: return Kind::Device;
    case c10::TypeKind::GeneratorType: return Kind::Generator;
    default: throw std::runtime_error("arguments of type " + type.str() + " cannot be passed from JavaScript");
  }
}

Kind listKind(const c10::Type& element) {
  if (element.kind() == c10::TypeKind::OptionalType) {
    const auto& inner = *element.castRaw<c10::OptionalType>()->getElementType();
    return scalarKind(inner) == Kind::Scalar ? Kind::OptionalScalarList : Kind::OptionalTensorList;
  }
  switch (scalarKind(element)) {
    case Kind::Tensor: return Kind::TensorList;
    case Kind::Int: return Kind::IntList;
    case Kind::Float: return Kind::FloatList;
    case Kind::Bool: return Kind::BoolList;
    case Kind::Scalar: return Kind::ScalarList;
    default: throw std::runtime_error("lists of " + element.str() + " cannot be passed from JavaScript");
  }
}

int64_t toInt(const Napi::Value& value) {
  if (value.IsBigInt()) {
    bool lossless = false;
    const int64_t number = value.As<Napi::BigInt>().Int64Value(&lossless);
    if (!lossless) throw std::runtime_error("the BigInt does not fit into int64");
    return number;
  }
  if (!value.IsNumber()) throw std::runtime_error("expected an integer");
  const double number = value.As<Napi::Number>().DoubleValue();
  if (std::trunc(number) != number || std::abs(number) > kMaxSafeInteger)
    throw std::runtime_error("expected an integer of at most 2^53 - 1, got " + std::to_string(number));
  return static_cast<int64_t>(number);
}

double toDouble(const Napi::Value& value) {
  if (!value.IsNumber()) throw std::runtime_error("expected a number");
  return value.As<Napi::Number>().DoubleValue();
}

bool toBool(const Napi::Value& value) {
  if (!value.IsBoolean()) throw std::runtime_error("expected a boolean");
  return value.As<Napi::Boolean>().Value();
}

// An integral number becomes an integer scalar, as in Python `1` and not `1.0`.
at::Scalar toScalar(const Napi::Value& value) {
  if (value.IsBoolean()) return at::Scalar(toBool(value));
  if (value.IsBigInt()) return at::Scalar(toInt(value));
  const double number = toDouble(value);
  if (std::trunc(number) == number && std::abs(number) <= kMaxSafeInteger) {
    // -0 has no integer form
    if (number == 0 && std::signbit(number)) return at::Scalar(number);
    return at::Scalar(static_cast<int64_t>(number));
  }
  return at::Scalar(number);
}

template <class T, class Convert>
c10::List<T> toList(const Napi::Value& value, int32_t length, Convert&& convert) {
  c10::List<T> list;
  if (!value.IsArray()) {
    if (length <= 0) throw std::runtime_error("expected an array");
    const T single = convert(value);
    for (int32_t i = 0; i < length; ++i) list.push_back(single);
    return list;
  }
  auto array = value.As<Napi::Array>();
  list.reserve(array.Length());
  for (uint32_t i = 0; i < array.Length(); ++i) list.push_back(convert(array.Get(i)));
  return list;
}

c10::IValue toIValue(State& state, const Parameter& parameter, const Napi::Value& value) {
  switch (parameter.kind) {
    case Kind::Tensor: return state.get(value);
    case Kind::TensorList: return toList<at::Tensor>(value, 0, [&](const Napi::Value& v) { return state.get(v); });
    case Kind::OptionalTensorList:
      return toList<std::optional<at::Tensor>>(value, 0, [&](const Napi::Value& v) -> std::optional<at::Tensor> {
        if (v.IsNull() || v.IsUndefined()) return std::nullopt;
        return state.get(v);
      });
    case Kind::Int: return toInt(value);
    case Kind::IntList: return toList<int64_t>(value, parameter.listLength, toInt);
    case Kind::Float: return toDouble(value);
    case Kind::FloatList: return toList<double>(value, parameter.listLength, toDouble);
    case Kind::Bool: return toBool(value);
    case Kind::BoolList: return toList<bool>(value, parameter.listLength, toBool);
    case Kind::Scalar: return toScalar(value);
    case Kind::ScalarList:
    case Kind::OptionalScalarList: {
      const bool optional = parameter.kind == Kind::OptionalScalarList;
      c10::TypePtr element = c10::NumberType::get();
      if (optional) element = c10::OptionalType::create(element);
      c10::impl::GenericList list(element);
      auto array = value.As<Napi::Array>();
      for (uint32_t i = 0; i < array.Length(); ++i) {
        const Napi::Value each = array.Get(i);
        if (optional && each.IsNull())
          list.push_back(c10::IValue());
        else
          list.push_back(toScalar(each));
      }
      return list;
    }
    case Kind::String: return value.As<Napi::String>().Utf8Value();
    case Kind::Device: return c10::Device(value.As<Napi::String>().Utf8Value());
    case Kind::Generator: return state.generatorAt(value.As<Napi::Number>().Uint32Value());
  }
  throw std::logic_error("unreachable");
}

}  // namespace

double exactDouble(int64_t value) {
  if (value > static_cast<int64_t>(kMaxSafeInteger) || value < -static_cast<int64_t>(kMaxSafeInteger))
    throw std::runtime_error("the int64 value " + std::to_string(value) + " does not fit into a JavaScript number");
  return static_cast<double>(value);
}

Parameter describe(const c10::Argument& argument) {
  c10::TypePtr type = argument.real_type();
  Parameter parameter{Kind::Tensor, false, argument.N().value_or(0), argument.name(), argument.default_value()};
  if (type->kind() == c10::TypeKind::OptionalType) {
    parameter.optional = true;
    type = type->castRaw<c10::OptionalType>()->getElementType();
  }
  if (type->kind() == c10::TypeKind::ListType)
    parameter.kind = listKind(*type->castRaw<c10::ListType>()->getElementType());
  else
    parameter.kind = scalarKind(*type);
  return parameter;
}

void pushArguments(State& state, const Operator& op, const Napi::CallbackInfo& info, size_t first,
                   std::vector<c10::IValue>& stack) {
  const size_t given = info.Length() > first ? info.Length() - first : 0;
  if (given > op.parameters.size())
    throw std::runtime_error("takes " + std::to_string(op.parameters.size()) + " arguments, got " +
                             std::to_string(given));
  for (size_t i = 0; i < op.parameters.size(); ++i) {
    const Parameter& parameter = op.parameters[i];
    const Napi::Value value = i < given ? info[first + i] : info.Env().Undefined();
    if (value.IsUndefined() || (value.IsNull() && parameter.optional)) {
      if (value.IsUndefined() && parameter.fallback)
        stack.push_back(*parameter.fallback);
      else if (parameter.optional)
        stack.emplace_back();
      else
        throw std::runtime_error("argument '" + parameter.name + "' is missing");
      continue;
    }
    try {
      stack.push_back(toIValue(state, parameter, value));
    } catch (const std::exception& error) {
      throw std::runtime_error("argument '" + parameter.name + "': " + messageOf(error));
    }
  }
}

Napi::Value toJavaScript(Napi::Env env, State& state, const c10::IValue& value) {
  if (value.isTensor()) return Napi::Number::New(env, state.put(value.toTensor()));
  if (value.isNone()) return env.Null();
  if (value.isInt()) return Napi::Number::New(env, exactDouble(value.toInt()));
  if (value.isDouble()) return Napi::Number::New(env, value.toDouble());
  if (value.isBool()) return Napi::Boolean::New(env, value.toBool());
  if (value.isString()) return Napi::String::New(env, value.toStringRef());
  if (value.isScalar()) {
    const auto scalar = value.toScalar();
    if (scalar.isIntegral(false)) return Napi::Number::New(env, exactDouble(scalar.toLong()));
    return Napi::Number::New(env, scalar.toDouble());
  }
  if (value.isDevice()) return Napi::String::New(env, value.toDevice().str());
  if (value.isList() || value.isTuple()) {
    const auto elements = value.isList() ? value.toListRef().vec() : value.toTupleRef().elements().vec();
    auto array = Napi::Array::New(env, elements.size());
    for (uint32_t i = 0; i < elements.size(); ++i) array.Set(i, toJavaScript(env, state, elements[i]));
    return array;
  }
  throw std::runtime_error("a result of type " + value.tagKind() + " cannot be returned to JavaScript");
}

}  // namespace visurf
