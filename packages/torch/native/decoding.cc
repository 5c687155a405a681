// The inner loop of generation on the CPU, without gradients: attention of one new token per response, alone or as part
// of whole layers. Each is a single pass over its rows where libtorch would need a chain of operators.
#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <utility>
#include <vector>

#include "levels.h"

namespace visurf {

namespace {

// The tensor itself where its tokens lie at one stride, else a contiguous copy.
at::Tensor asTokens(const at::Tensor& x, at::ScalarType type) {
  const auto y = x.to(type);
  const bool whole = y.stride(3) == 1 && y.stride(2) == y.size(3) && y.stride(0) == y.stride(1) * y.size(1);
  return whole ? y : y.contiguous();
}

// What new tokens attend to: cos and sin [B, 1, 1, d]; prefix keys [B, KV, d, L] and values [B, KV, L, d]; own keys
// [B, KV, K, d, capacity] and values [B, KV, K, capacity, d], to which the tokens are added at `at`; padding [B, .., L]
// is added to the prefix scores.
struct Context {
  const at::Tensor &cos, &sin, &prefixKeys, &prefixValues, &ownKeys, &ownValues;
  int64_t at;
  at::Tensor mask;

  Context(const at::Tensor& cos, const at::Tensor& sin, const at::Tensor& prefixKeys, const at::Tensor& prefixValues,
          const at::Tensor& ownKeys, const at::Tensor& ownValues, int64_t at, const std::optional<at::Tensor>& padding)
      : cos(cos),
        sin(sin),
        prefixKeys(prefixKeys),
        prefixValues(prefixValues),
        ownKeys(ownKeys),
        ownValues(ownValues),
        at(at) {
    TORCH_CHECK(at < ownKeys.size(4), "the cache holds ", ownKeys.size(4), " tokens, and this is number ", at + 1);
    for (const auto* each : {&cos, &sin, &prefixKeys, &prefixValues, &ownKeys, &ownValues})
      TORCH_CHECK(each->is_contiguous() && each->scalar_type() == type(),
                  "caches and rotation must be contiguous and of one dtype");
    TORCH_CHECK(cos.numel() == batch() * size() && sin.numel() == batch() * size(),
                "there must be one rotation per prompt");
    if (padding) mask = padding->reshape({batch(), prefixKeys.size(3)}).contiguous();
  }

  at::ScalarType type() const { return cos.scalar_type(); }
  int64_t batch() const { return ownKeys.size(0); }
  int64_t kvHeads() const { return ownKeys.size(1); }
  int64_t responses() const { return ownKeys.size(2); }
  int64_t size() const { return ownKeys.size(3); }

  // Without queries, keys, values and the result.
  template <class T>
  Attention<T> attention(int64_t heads) const {
    Attention<T> s{};
    s.responses = responses();
    s.heads = heads;
    s.kvHeads = kvHeads();
    s.size = size();
    s.prefix = prefixKeys.size(3);
    s.capacity = ownKeys.size(4);
    s.at = at;
    s.cos = cos.const_data_ptr<T>();
    s.sin = sin.const_data_ptr<T>();
    s.prefixKeys = prefixKeys.const_data_ptr<T>();
    s.prefixValues = prefixValues.const_data_ptr<T>();
    s.padding = mask.defined() ? mask.const_data_ptr<T>() : nullptr;
    s.ownKeys = ownKeys.mutable_data_ptr<T>();
    s.ownValues = ownValues.mutable_data_ptr<T>();
    s.scale = static_cast<T>(1 / std::sqrt(static_cast<double>(size())));
    return s;
  }
};

// q [B, K, H, d], k and v [B, K, KV, d] before rotation; see Context for the others. Returns [B, K, H * d].
at::Tensor decodeAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& cos,
                           const at::Tensor& sin, const at::Tensor& prefixKeys, const at::Tensor& prefixValues,
                           const at::Tensor& ownKeys, const at::Tensor& ownValues, int64_t at,
                           const std::optional<at::Tensor>& padding) {
  const Context context(cos, sin, prefixKeys, prefixValues, ownKeys, ownValues, at, padding);
  const int64_t batch = q.size(0), responses = q.size(1), heads = q.size(2), size = q.size(3);
  const auto queries = asTokens(q, context.type()), keys = asTokens(k, context.type()),
             values = asTokens(v, context.type());
  auto out = at::empty({batch, responses, heads * size}, cos.options());
  AT_DISPATCH_FLOATING_TYPES(context.type(), "decode_attention", [&] {
    auto shape = context.attention<scalar_t>(heads);
    shape.q = queries.const_data_ptr<scalar_t>();
    shape.k = keys.const_data_ptr<scalar_t>();
    shape.v = values.const_data_ptr<scalar_t>();
    shape.out = out.mutable_data_ptr<scalar_t>();
    shape.queryStride = queries.stride(1);
    shape.keyStride = keys.stride(1);
    shape.valueStride = values.stride(1);
    const int64_t most = together(shape), blocks = (responses + most - 1) / most;
    const int64_t work = most * (heads / shape.kvHeads) * (shape.prefix + at + 1) * size;
    at::parallel_for(0, batch * shape.kvHeads * blocks, grainRows(work / 8), [&](int64_t begin, int64_t end) {
      std::vector<scalar_t> scratch(decodingScratch(shape));
      for (int64_t task = begin; task < end; ++task) {
        const int64_t first = task % blocks * most, pair = task / blocks;
        kernels<scalar_t>().attendToken(shape, pair / shape.kvHeads, pair % shape.kvHeads, first,
                                        std::min(most, responses - first), scratch.data());
      }
    });
  });
  return out;
}

// ---- Whole layers on those tokens. Rows do not need each other, so a thread takes some of them from start to end: one
// start and one end per layer for all threads, and what a row needs next is still in the cache.

constexpr int64_t kBlockRows = 64;

// x [.., D], a row per response. For every layer of the stack: its caches, see Context for them and the others, and
// seven weights, one layer after the other: norm [D], q, k and v [D, (H + 2 KV) d] with bias, output [H d, D], norm
// [D], gate and up [D, 2 I], down [I, D]. Returns the stream after the last layer.
at::Tensor decodeLayers(const at::Tensor& input, const at::Tensor& cos, const at::Tensor& sin,
                        at::TensorList prefixKeys, at::TensorList prefixValues, at::TensorList ownKeys,
                        at::TensorList ownValues, int64_t at, const std::optional<at::Tensor>& padding,
                        at::TensorList weights, double eps) {
  const size_t count = prefixKeys.size();
  TORCH_CHECK(count > 0 && weights.size() == 7 * count && prefixValues.size() == count && ownKeys.size() == count &&
                  ownValues.size() == count,
              "decode_layers: ", count, " layers with ", weights.size(), " weights");
  for (const auto& each : weights)
    TORCH_CHECK(each.is_contiguous() && each.scalar_type() == cos.scalar_type(),
                "decode_layers: weights must be contiguous and of the caches' dtype");
  const int64_t width = input.size(-1), joint = weights[1].size(1), heads = weights[3].size(0);
  const int64_t inner = weights[6].size(0), rows = input.numel() / width;
  TORCH_CHECK(input.scalar_type() == cos.scalar_type(), "decode_layers: a stream of another dtype than the caches");
  auto x = input.clone(at::MemoryFormat::Contiguous);
  const auto scratch = at::empty({rows * (width + joint + heads + 3 * inner)}, x.options());
  AT_DISPATCH_FLOATING_TYPES(cos.scalar_type(), "decode_layers", [&] {
    auto* free = scratch.mutable_data_ptr<scalar_t>();
    const auto take = [&](int64_t columns) { return std::exchange(free, free + rows * columns); };
    Layer<scalar_t> layer{};
    layer.width = width;
    layer.joint = joint;
    layer.inner = inner;
    layer.x = x.mutable_data_ptr<scalar_t>();
    layer.normed = take(width);
    layer.projected = take(joint);
    layer.attended = take(heads);
    layer.gates = take(2 * inner);
    layer.gated = take(inner);
    layer.eps = static_cast<scalar_t>(eps);
    std::vector<Layer<scalar_t>> layers(count, layer);
    std::vector<at::Tensor> masks;  // what the layers point to
    for (size_t i = 0; i < count; ++i) {
      const Context context(cos, sin, prefixKeys[i], prefixValues[i], ownKeys[i], ownValues[i], at, padding);
      const int64_t size = context.size(), kvHeads = context.kvHeads();
      const std::vector<std::vector<int64_t>> shapes{{width}, {width, joint},     {joint},       {heads, width},
                                                     {width}, {width, 2 * inner}, {inner, width}};
      for (size_t j = 0; j < shapes.size(); ++j)
        TORCH_CHECK(weights[7 * i + j].sizes() == at::IntArrayRef(shapes[j]),
                    "decode_layers: weights do not fit: ", weights[7 * i + j].sizes(), " in place of ",
                    at::IntArrayRef(shapes[j]));
      TORCH_CHECK(
          rows == context.batch() * context.responses() && heads % size == 0 && joint == heads + 2 * kvHeads * size,
          "decode_layers: the caches do not fit the stream and the weights");
      const auto weight = [&](size_t j) { return weights[7 * i + j].const_data_ptr<scalar_t>(); };
      auto& each = layers[i];
      each.inputNorm = weight(0);
      each.qkv = weight(1);
      each.bias = weight(2);
      each.output = weight(3);
      each.postNorm = weight(4);
      each.gateUp = weight(5);
      each.down = weight(6);
      masks.push_back(context.mask);
      auto& attention = each.attention = context.attention<scalar_t>(heads / size);
      attention.q = layer.projected;
      attention.k = attention.q + heads;
      attention.v = attention.k + kvHeads * size;
      attention.queryStride = attention.keyStride = attention.valueStride = joint;
      attention.out = layer.attended;
    }
    const int64_t share = (rows + at::get_num_threads() - 1) / at::get_num_threads();
    const int64_t block = std::min(kBlockRows, (share + 3) / 4 * 4);
    at::parallel_for(0, (rows + block - 1) / block, 1, [&](int64_t begin, int64_t end) {
      int64_t most = 0;
      for (const auto& each : layers) most = std::max(most, decodingScratch(each.attention));
      std::vector<scalar_t> scratch(most);
      for (int64_t task = begin; task < end; ++task)
        for (const auto& each : layers)
          kernels<scalar_t>().decodeRows(each, task * block, std::min((task + 1) * block, rows), scratch.data());
    });
  });
  return x;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(visurf, library) {
  library.def(
      "decode_attention(Tensor q, Tensor k, Tensor v, Tensor cos, Tensor sin, Tensor prefix_keys, Tensor "
      "prefix_values, "
      "Tensor(a!) own_keys, Tensor(b!) own_values, int at, Tensor? padding) -> Tensor",
      decodeAttention);
  library.def(
      "decode_layers(Tensor x, Tensor cos, Tensor sin, Tensor[] prefix_keys, Tensor[] prefix_values, "
      "Tensor(a!)[] own_keys, Tensor(b!)[] own_values, int at, Tensor? padding, Tensor[] weights, float eps) -> Tensor",
      decodeLayers);
}

}  // namespace visurf
