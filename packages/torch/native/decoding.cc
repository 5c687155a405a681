// The inner loop of generation on the CPU, without gradients: attention of one new token per response, and the choice
// of the next one. Each is a single pass over its rows where libtorch would need a chain of operators.
#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <cstring>
#include <limits>
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

// q [B, K, H, d], k and v [B, K, KV, d] before rotation; cos and sin [B, 1, 1, d]; prefix keys [B, KV, d, L] and values
// [B, KV, L, d]; own keys [B, KV, K, d, capacity] and values [B, KV, K, capacity, d], to which the token is added at
// `at`; padding [B, .., L] is added to the prefix scores. Returns [B, K, H * d].
at::Tensor decodeAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& cos,
                           const at::Tensor& sin, const at::Tensor& prefixKeys, const at::Tensor& prefixValues,
                           const at::Tensor& ownKeys, const at::Tensor& ownValues, int64_t at,
                           const std::optional<at::Tensor>& padding) {
  const auto type = cos.scalar_type();
  const int64_t batch = q.size(0), responses = q.size(1), heads = q.size(2), size = q.size(3);
  const int64_t kvHeads = prefixKeys.size(1), prefix = prefixKeys.size(3), capacity = ownKeys.size(4);
  TORCH_CHECK(at < capacity, "decode_attention: the cache holds ", capacity, " tokens, and this is number ", at + 1);
  for (const auto* each : {&cos, &sin, &prefixKeys, &prefixValues, &ownKeys, &ownValues})
    TORCH_CHECK(each->is_contiguous() && each->scalar_type() == type,
                "decode_attention: caches and rotation must be contiguous and of one dtype");
  TORCH_CHECK(cos.numel() == batch * size && sin.numel() == batch * size,
              "decode_attention: there must be one rotation per prompt");
  const auto queries = asTokens(q, type), keys = asTokens(k, type), values = asTokens(v, type);
  const auto mask = padding ? padding->reshape({batch, prefix}).contiguous() : at::Tensor();
  auto out = at::empty({batch, responses, heads * size}, cos.options());
  AT_DISPATCH_FLOATING_TYPES(type, "decode_attention", [&] {
    const Attention<scalar_t> shape{responses,
                                    heads,
                                    kvHeads,
                                    size,
                                    prefix,
                                    capacity,
                                    at,
                                    queries.const_data_ptr<scalar_t>(),
                                    keys.const_data_ptr<scalar_t>(),
                                    values.const_data_ptr<scalar_t>(),
                                    cos.const_data_ptr<scalar_t>(),
                                    sin.const_data_ptr<scalar_t>(),
                                    prefixKeys.const_data_ptr<scalar_t>(),
                                    prefixValues.const_data_ptr<scalar_t>(),
                                    mask.defined() ? mask.const_data_ptr<scalar_t>() : nullptr,
                                    ownKeys.mutable_data_ptr<scalar_t>(),
                                    ownValues.mutable_data_ptr<scalar_t>(),
                                    out.mutable_data_ptr<scalar_t>(),
                                    queries.stride(1),
                                    keys.stride(1),
                                    values.stride(1),
                                    static_cast<scalar_t>(1 / std::sqrt(static_cast<double>(size)))};
    // Responses of a prompt go together, as many as make eight rows: they read the same keys.
    const int64_t together = std::max<int64_t>(1, 8 * kvHeads / heads);
    const int64_t blocks = (responses + together - 1) / together;
    const int64_t work = together * (heads / kvHeads) * (prefix + at + 1) * size;
    at::parallel_for(0, batch * kvHeads * blocks, grainRows(work / 8), [&](int64_t begin, int64_t end) {
      std::vector<scalar_t> memory, panel;
      for (int64_t task = begin; task < end; ++task) {
        const int64_t first = task % blocks * together, pair = task / blocks;
        attend<scalar_t>(shape, pair / kvHeads, pair % kvHeads, first, std::min(together, responses - first), memory,
                         panel);
      }
    });
  });
  return out;
}

// ---- The next token of a row of logits

constexpr int64_t kBlock = 256;

// Inverse transform sampling from softmax((logits + forbidden) / temperature): the first token whose cumulative
// probability exceeds the noise. Gives the log-probability under softmax(logits).
template <class T>
VISURF_KERNEL int64_t sampleRow(const T* logits, const T* forbidden, T temperature, double noise, int64_t size,
                                T* weights, double* masses, double* logProb) {
  T largest = -std::numeric_limits<T>::infinity(), allowed = largest;
  for (int64_t i = 0; i < size; ++i) largest = logits[i] > largest ? logits[i] : largest;
  for (int64_t i = 0; i < size; ++i) {
    weights[i] = forbidden ? logits[i] + forbidden[i] : logits[i];
    allowed = weights[i] > allowed ? weights[i] : allowed;
  }
  // One exponential serves both distributions where they are the same but for what is forbidden.
  const bool same = temperature == 1 && largest - allowed < 40;
  const T lowest = -std::numeric_limits<T>::infinity(), inverse = 1 / temperature;
  double all = 0, total = 0;
  for (int64_t begin = 0; begin < size; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, size);
    T part = 0, mass = 0;
    // What is forbidden has no weight, however small an exponential can get.
    if (same) {
      for (int64_t i = begin; i < end; ++i) {
        const T weight = exponential(logits[i] - largest);
        part += weight;
        weights[i] = weights[i] == lowest ? 0 : weight;
        mass += weights[i];
      }
    } else {
      for (int64_t i = begin; i < end; ++i) part += exponential(logits[i] - largest);
      for (int64_t i = begin; i < end; ++i) {
        const T weight = exponential((weights[i] - allowed) * inverse);
        weights[i] = weights[i] == lowest ? 0 : weight;
        mass += weights[i];
      }
    }
    all += part;
    total += mass;
    masses[begin / kBlock] = mass;
  }
  const double threshold = noise * total;
  double cumulative = 0;
  int64_t first = 0;
  for (; first + kBlock < size && cumulative + masses[first / kBlock] <= threshold; first += kBlock)
    cumulative += masses[first / kBlock];
  int64_t chosen = -1;
  for (int64_t i = first; i < size; ++i) {
    if (weights[i] == 0) continue;
    chosen = i;
    cumulative += weights[i];
    if (cumulative > threshold) break;
  }
  // Sums in another order may end just below the threshold, in a block where nothing is allowed.
  for (int64_t i = size - 1; chosen < 0 && i > 0; --i)
    if (weights[i] > 0) chosen = i;
  chosen = std::max<int64_t>(chosen, 0);
  *logProb = static_cast<double>(logits[chosen] - largest) - std::log(all);
  return chosen;
}

// logits [R, V], noise [R] in [0, 1), forbidden [V]; returns tokens [R] and their log-probabilities [R] in float64.
std::tuple<at::Tensor, at::Tensor> sample(const at::Tensor& input, const at::Tensor& noise,
                                          const std::optional<at::Tensor>& forbidden, double temperature) {
  const auto logits = input.contiguous();
  const int64_t rows = logits.size(0), size = logits.size(1);
  TORCH_CHECK(noise.scalar_type() == at::kDouble && noise.numel() == rows,
              "sample: noise must be float64, one per row");
  TORCH_CHECK(!forbidden || (forbidden->numel() == size && forbidden->scalar_type() == logits.scalar_type()),
              "sample: forbidden must be like a row of logits");
  const auto bias = forbidden ? forbidden->contiguous() : at::Tensor();
  auto tokens = at::empty({rows}, logits.options().dtype(at::kLong));
  auto logProbs = at::empty({rows}, logits.options().dtype(at::kDouble));
  AT_DISPATCH_FLOATING_TYPES(logits.scalar_type(), "sample", [&] {
    at::parallel_for(0, rows, grainRows(size), [&](int64_t begin, int64_t end) {
      std::vector<scalar_t> weights(size);
      std::vector<double> masses(size / kBlock + 1);
      for (int64_t row = begin; row < end; ++row)
        tokens.mutable_data_ptr<int64_t>()[row] = sampleRow<scalar_t>(
            logits.const_data_ptr<scalar_t>() + row * size, bias.defined() ? bias.const_data_ptr<scalar_t>() : nullptr,
            static_cast<scalar_t>(temperature), noise.const_data_ptr<double>()[row], size, weights.data(),
            masses.data(), logProbs.mutable_data_ptr<double>() + row);
    });
  });
  return {tokens, logProbs};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(visurf, library) {
  library.def(
      "decode_attention(Tensor q, Tensor k, Tensor v, Tensor cos, Tensor sin, Tensor prefix_keys, Tensor "
      "prefix_values, "
      "Tensor(a!) own_keys, Tensor(b!) own_values, int at, Tensor? padding) -> Tensor",
      decodeAttention);
  library.def("sample(Tensor logits, Tensor noise, Tensor? forbidden, float temperature) -> (Tensor, Tensor)", sample);
}

}  // namespace visurf
