// The inner loop of generation on the CPU, without gradients: attention of one new token per response, alone or as part
// of whole layers. Each is a single pass over its rows where libtorch would need a chain of operators.
#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "kernels.h"
#include "products.h"

namespace visurf {

namespace {

// ---- One new token of K responses per prompt attends to the prompt's keys, which they share, and to its own

template <class T>
struct Attention {
  int64_t responses, heads, kvHeads, size, prefix, capacity, at;
  const T *q, *k, *v, *cos, *sin, *prefixKeys, *prefixValues, *padding;
  T *ownKeys, *ownValues, *out;
  int64_t queryStride, keyStride, valueStride;  // from token to token
  T scale;
};

// y = x cos + roll(x, size / 2) sin, element by element at `stride`
template <class T>
VISURF_INLINE void rotateHead(const T* x, const T* cos, const T* sin, T* y, int64_t size, int64_t stride, T scale) {
  const int64_t half = size / 2;
  for (int64_t i = 0; i < half; ++i) {
    y[i * stride] = scale * (x[i] * cos[i] + x[i + half] * sin[i]);
    y[(i + half) * stride] = scale * (x[i + half] * cos[i + half] + x[i] * sin[i + half]);
  }
}

template <class T>
VISURF_INLINE void softmax(T* scores, int64_t count) {
  T largest = -std::numeric_limits<T>::infinity();
  for (int64_t i = 0; i < count; ++i) largest = scores[i] > largest ? scores[i] : largest;
  T total = 0;
  for (int64_t i = 0; i < count; ++i) {
    scores[i] = exponential(scores[i] - largest);
    total += scores[i];
  }
  const T factor = 1 / total;
  for (int64_t i = 0; i < count; ++i) scores[i] *= factor;
}

// Responses [first, first + count) of one prompt, for one key head and the query heads that share it.
template <class T>
VISURF_KERNEL void attend(const Attention<T>& s, int64_t prompt, int64_t kv, int64_t first, int64_t count,
                          std::vector<T>& memory, std::vector<T>& panel) {
  const int64_t groups = s.heads / s.kvHeads, rows = count * groups, length = s.at + 1;
  // Scores against places of the cache that are still empty are computed where that fills a vector, and not read.
  const int64_t filled = Lanes<T>::fill(length), own = filled <= s.capacity ? filled : length;
  const int64_t width = s.prefix + own;
  memory.resize(rows * (2 * s.size + width));
  T *query = memory.data(), *result = query + rows * s.size, *scores = result + rows * s.size;
  const int64_t shared = prompt * s.kvHeads + kv;
  const T* prefixKeys = s.prefixKeys + shared * s.size * s.prefix;
  const T* prefixValues = s.prefixValues + shared * s.size * s.prefix;
  const T *cos = s.cos + prompt * s.size, *sin = s.sin + prompt * s.size;
  for (int64_t r = 0; r < count; ++r) {
    const int64_t token = prompt * s.responses + first + r;
    T* keys = s.ownKeys + (shared * s.responses + first + r) * s.size * s.capacity;
    T* values = s.ownValues + (shared * s.responses + first + r) * s.size * s.capacity;
    for (int64_t g = 0; g < groups; ++g)
      rotateHead<T>(s.q + token * s.queryStride + (kv * groups + g) * s.size, cos, sin,
                    query + (r * groups + g) * s.size, s.size, 1, s.scale);
    rotateHead<T>(s.k + token * s.keyStride + kv * s.size, cos, sin, keys + s.at, s.size, s.capacity, 1);
    std::memcpy(values + s.at * s.size, s.v + token * s.valueStride + kv * s.size, s.size * sizeof(T));
    multiply<T>({query + r * groups * s.size, s.size}, keys, s.capacity, scores + r * groups * width + s.prefix, width,
                groups, s.size, own, false, panel);
  }
  multiply<T>({query, s.size}, prefixKeys, s.prefix, scores, width, rows, s.size, s.prefix, false, panel);
  for (int64_t row = 0; row < rows; ++row) {
    T* each = scores + row * width;
    if (s.padding)
      for (int64_t i = 0; i < s.prefix; ++i) each[i] += s.padding[prompt * s.prefix + i];
    softmax<T>(each, s.prefix + length);
  }
  multiply<T>({scores, width}, prefixValues, s.size, result, s.size, rows, s.prefix, s.size, false, panel);
  for (int64_t r = 0; r < count; ++r) {
    const T* values = s.ownValues + (shared * s.responses + first + r) * s.size * s.capacity;
    T* mine = result + r * groups * s.size;
    multiply<T>({scores + r * groups * width + s.prefix, width}, values, s.size, mine, s.size, groups, length, s.size,
                true, panel);
    std::memcpy(s.out + ((prompt * s.responses + first + r) * s.heads + kv * groups) * s.size, mine,
                groups * s.size * sizeof(T));
  }
}

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

// Responses of a prompt that go together, as many as make eight rows: they read the same keys.
template <class T>
int64_t together(const Attention<T>& s) {
  return std::max<int64_t>(1, 8 * s.kvHeads / s.heads);
}

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
      std::vector<scalar_t> memory, panel;
      for (int64_t task = begin; task < end; ++task) {
        const int64_t first = task % blocks * most, pair = task / blocks;
        attend<scalar_t>(shape, pair / shape.kvHeads, pair % shape.kvHeads, first, std::min(most, responses - first),
                         memory, panel);
      }
    });
  });
  return out;
}

// ---- A whole layer on those tokens. Rows do not need each other, so a thread takes some of them from start to end:
// one start and one end per layer for all threads, and what a row needs next is still in the cache.

constexpr int64_t kBlockRows = 64;

// Matrices are [in, out]. Scratch has as many rows as there are tokens.
template <class T>
struct Layer {
  Attention<T> attention;
  at::Tensor mask;  // what attention.padding points to
  int64_t width, joint, inner;
  const T *inputNorm, *qkv, *bias, *output, *postNorm, *gateUp, *down;
  T *x, *normed, *projected, *attended, *gates, *gated;
  T eps;
};

// x += output(attention(norm(x))), x += down(swiglu(norm(x))) for rows [begin, end).
template <class T>
VISURF_KERNEL void decodeRows(const Layer<T>& l, int64_t begin, int64_t end) {
  const Attention<T>& s = l.attention;
  const int64_t rows = end - begin, heads = s.heads * s.size;
  std::vector<T> memory, panel;
  T *x = l.x + begin * l.width, *normed = l.normed + begin * l.width, *projected = l.projected + begin * l.joint;
  for (int64_t r = 0; r < rows; ++r) {
    normRow<T>(x + r * l.width, l.inputNorm, normed + r * l.width, l.width, l.eps);
    std::memcpy(projected + r * l.joint, l.bias, l.joint * sizeof(T));
  }
  multiply<T>({normed, l.width}, l.qkv, l.joint, projected, l.joint, rows, l.width, l.joint, true, panel);
  for (int64_t row = begin; row < end;) {
    const int64_t first = row % s.responses;
    const int64_t count = std::min({together(s), s.responses - first, end - row});
    for (int64_t kv = 0; kv < s.kvHeads; ++kv) attend<T>(s, row / s.responses, kv, first, count, memory, panel);
    row += count;
  }
  multiply<T>({l.attended + begin * heads, heads}, l.output, l.width, x, l.width, rows, heads, l.width, true, panel);
  for (int64_t r = 0; r < rows; ++r) normRow<T>(x + r * l.width, l.postNorm, normed + r * l.width, l.width, l.eps);
  T *gates = l.gates + begin * 2 * l.inner, *gated = l.gated + begin * l.inner;
  multiply<T>({normed, l.width}, l.gateUp, 2 * l.inner, gates, 2 * l.inner, rows, l.width, 2 * l.inner, false, panel);
  for (int64_t r = 0; r < rows; ++r) {
    const T* gate = gates + r * 2 * l.inner;
    gateRow<T>(gate, gate + l.inner, gated + r * l.inner, l.inner);
  }
  multiply<T>({gated, l.inner}, l.down, l.width, x, l.width, rows, l.inner, l.width, true, panel);
}

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
      each.mask = context.mask;
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
      for (int64_t task = begin; task < end; ++task)
        for (const auto& each : layers) decodeRows<scalar_t>(each, task * block, std::min((task + 1) * block, rows));
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
