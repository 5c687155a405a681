// What the kernels of one level make of fixed inputs, for processors that no test can run on with libtorch:
//
//   numbers write FILE       on a processor where the tests pass
//   numbers compare FILE     elsewhere; exit code 1 and the names of the kernels that differ
#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "kernels.h"

namespace visurf {

extern const Level DEFAULTKernels;

namespace {

struct Result {
  std::string name;
  double tolerance;  // by the largest number
  std::vector<double> numbers;
};

template <class T>
class Numbers {
 public:
  explicit Numbers(const Kernels<T>& kernels) : k_(kernels) {}

  std::vector<Result> all() {
    for (const int64_t width : {1, 7, 16, 67}) rows(width);
    for (const int64_t size : {2, 10, 34}) rotation(size);
    attention({1, 1, 3, 1, 0, 0, 0});
    attention({4, 2, 17, 49, 3, 13, 0});
    attention({2, 2, 32, 16, 2, 51, 15});
    decoding({1, 1, 1, 2, 1, 1, 0}, 5, 3);
    decoding({5, 6, 2, 10, 37, 21, 17}, 33, 47);
    decoding({17, 9, 1, 66, 13, 16, 15}, 67, 129);
    delta(1, 1, 3, 5, 2);
    delta(2, 3, 16, 17, 4);
    for (const int64_t size : {1, 255, 1031}) sampling(size);
    return std::move(results_);
  }

 private:
  using Values = std::vector<T>;

  Values random(int64_t count) {
    Values values(count);
    for (auto& value : values) {
      state_ = state_ * 6364136223846793005u + 1442695040888963407u;
      value = static_cast<T>(static_cast<double>(state_ >> 40) / (1 << 23) - 1);
    }
    return values;
  }

  void keep(const std::string& name, const Values& values) {
    const bool single = sizeof(T) == 4;
    results_.push_back({name + (single ? " in float32" : " in float64"), single ? 2e-5 : 1e-12,
                        std::vector<double>(values.begin(), values.end())});
  }

  void rows(int64_t width) {
    const int64_t count = 5, all = count * width;
    const Values x = random(all), w = random(width), g = random(all), up = random(all);
    Values y(all), scale(count), dx(all), dw(width), dUp(all);
    k_.normRows(x.data(), w.data(), y.data(), scale.data(), 0, count, width, T(1e-6));
    keep("norm", y);
    k_.normRowsBackward(g.data(), x.data(), w.data(), scale.data(), dx.data(), dw.data(), 0, count, width);
    keep("norm backward, x", dx);
    keep("norm backward, w", dw);
    k_.gateRows(x.data(), up.data(), y.data(), 0, count, width, width, width);
    keep("gate", y);
    k_.gateRowsBackward(g.data(), x.data(), up.data(), dx.data(), dUp.data(), 0, count, width, width, width, width);
    keep("gate backward, gate", dx);
    keep("gate backward, up", dUp);
  }

  void rotation(int64_t size) {
    const int64_t tokens = 7, heads = 3;
    const Values x = random(tokens * heads * size), cos = random(tokens * size), sin = random(tokens * size);
    Values y(x.size());
    k_.rotateTokens(x.data(), cos.data(), sin.data(), y.data(), 0, tokens, heads, size, heads * size, size, T(1));
    keep("rotation", y);
  }

  void attention(const Layout& s) {
    const Values q = random(s.asked() * s.size), k = random(s.places() * s.size), v = random(s.places() * s.size),
                 g = random(s.asked() * s.size);
    Values out(q.size()), sums(s.asked()), dq(q.size()), dk(k.size()), dv(v.size()), scratch(headScratch<T>(s, true));
    const Head<T> head{
        q.data(), k.data(), v.data(), s.size, s.size, s.size, s.size, s.prefix, T(1 / std::sqrt(double(s.size)))};
    k_.attendHead(s, head, scratch.data(), out.data(), sums.data());
    keep("attention", out);
    k_.attendHeadBackward(s, head, scratch.data(), out.data(), sums.data(), g.data(), dq.data(), dk.data(), dv.data());
    keep("attention backward, q", dq);
    keep("attention backward, k", dk);
    keep("attention backward, v", dv);
  }

  struct Decoding {
    int64_t responses, heads, kvHeads, size, prefix, capacity, at;
  };

  void decoding(const Decoding& d, int64_t width, int64_t inner) {
    const int64_t heads = d.heads * d.size, joint = heads + 2 * d.kvHeads * d.size, shared = d.kvHeads * d.size;
    const int64_t rows = d.responses;
    const Values cos = random(d.size), sin = random(d.size), prefixKeys = random(shared * d.prefix),
                 prefixValues = random(shared * d.prefix), padding = random(d.prefix), norm = random(width),
                 qkv = random(width * joint), bias = random(joint), output = random(heads * width),
                 gateUp = random(2 * width * inner), down = random(inner * width);
    Values ownKeys = random(shared * rows * d.capacity), ownValues = random(shared * rows * d.capacity);
    Values x = random(rows * width), normed(rows * width), projected(rows * joint), attended(rows * heads),
           gates(2 * rows * inner), gated(rows * inner);
    Attention<T> s{d.responses,
                   d.heads,
                   d.kvHeads,
                   d.size,
                   d.prefix,
                   d.capacity,
                   d.at,
                   projected.data(),
                   projected.data() + heads,
                   projected.data() + heads + shared,
                   cos.data(),
                   sin.data(),
                   prefixKeys.data(),
                   prefixValues.data(),
                   padding.data(),
                   ownKeys.data(),
                   ownValues.data(),
                   attended.data(),
                   joint,
                   joint,
                   joint,
                   T(1 / std::sqrt(double(d.size)))};
    const Layer<T> layer{s,
                         width,
                         joint,
                         inner,
                         norm.data(),
                         qkv.data(),
                         bias.data(),
                         output.data(),
                         norm.data(),
                         gateUp.data(),
                         down.data(),
                         x.data(),
                         normed.data(),
                         projected.data(),
                         attended.data(),
                         gates.data(),
                         gated.data(),
                         T(1e-6)};
    Values scratch(decodingScratch(s));
    k_.decodeRows(layer, 0, rows, scratch.data());
    keep("whole layers", x);
    keep("decoding attention", attended);
    keep("cached keys", ownKeys);
    keep("cached values", ownValues);
  }

  void delta(int64_t keyHeads, int64_t groups, int64_t keySize, int64_t valueSize, int64_t taps) {
    const int64_t heads = keyHeads * groups, channels = 2 * keyHeads * keySize + heads * valueSize;
    const Values mixed = random(channels), weights = random(taps * channels), decay = random(heads),
                 beta = random(heads), norm = random(valueSize), gate = random(heads * valueSize);
    Values tail = random((taps - 1) * channels), sums = random(heads * keySize * valueSize), out(heads * valueSize);
    const Delta<T> s{heads,        keyHeads,       keySize,      valueSize,   taps,
                     mixed.data(), weights.data(), decay.data(), beta.data(), norm.data(),
                     gate.data(),  tail.data(),    sums.data(),  out.data(),  T(1e-6)};
    Values scratch(s.scratch());
    for (int64_t head = 0; head < keyHeads; ++head) k_.deltaToken(s, 0, head, scratch.data());
    keep("delta rule", out);
    keep("its state", sums);
    keep("its convolution", tail);
  }

  void sampling(int64_t size) {
    const Values logits = random(size);
    Values weights(size), forbidden(size), tokens, logProbs;
    std::vector<double> masses(size / kMassBlock + 1);
    for (int64_t i = 1; i < size; i += 3) forbidden[i] = -INFINITY;
    for (const double temperature : {1.0, 0.6})
      for (const double noise : {0.1, 0.5, 0.9}) {
        double logProb = 0;
        tokens.push_back(T(k_.sampleRow(logits.data(), forbidden.data(), T(temperature), noise, size, weights.data(),
                                        masses.data(), &logProb)));
        logProbs.push_back(T(logProb));
      }
    keep("tokens", tokens);
    keep("log-probabilities", logProbs);
  }

  const Kernels<T>& k_;
  std::vector<Result> results_;
  uint64_t state_ = 1;
};

bool isSame(const Result& result, const double* expected) {
  const size_t count = result.numbers.size();
  double largest = 1;
  for (size_t i = 0; i < count; ++i) largest = std::fmax(largest, std::fabs(expected[i]));
  for (size_t i = 0; i < count; ++i)
    if (!(std::fabs(result.numbers[i] - expected[i]) <= result.tolerance * largest)) return false;
  return true;
}

int run(const std::string& action, const std::string& path) {
  auto results = Numbers<float>(DEFAULTKernels.single).all();
  for (auto& each : Numbers<double>(DEFAULTKernels.twice).all()) results.push_back(std::move(each));
  std::vector<double> numbers;
  for (const auto& each : results) numbers.insert(numbers.end(), each.numbers.begin(), each.numbers.end());
  if (action == "write") {
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(double));
    return file.good() ? 0 : 1;
  }
  std::vector<double> expected(numbers.size());
  std::ifstream file(path, std::ios::binary);
  if (!file.read(reinterpret_cast<char*>(expected.data()), expected.size() * sizeof(double))) return 1;
  int different = 0;
  const double* next = expected.data();
  for (const auto& each : results) {
    if (!isSame(each, next)) {
      std::printf("%s differs\n", each.name.c_str());
      ++different;
    }
    next += each.numbers.size();
  }
  std::printf("%zu results, %zu numbers, %d different\n", results.size(), numbers.size(), different);
  return different == 0 ? 0 : 1;
}

}  // namespace

}  // namespace visurf

int main(int count, char** arguments) {
  if (count == 3) return visurf::run(arguments[1], arguments[2]);
  std::fprintf(stderr, "numbers write|compare FILE\n");
  return 2;
}
