// Element-wise pieces of a training step on a CPU: each reads its inputs once, while they are in the cache.
// What they compute is said by their plain forms, layers/dropout.py, residual_norm.py and attention.py; tests hold both
// together. Arrays are contiguous. Threads are those of PyTorch, whose OpenMP library this is loaded beside.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace {

constexpr int64_t BLOCK = 512;  // elements whose factors are made at once
constexpr int64_t FEW = 32768;  // elements that one thread computes faster alone
constexpr int64_t LANES = 16;   // numbers of the widest vectors
constexpr uint64_t STEP = 0x9E3779B97F4A7C15ull;

// As many numbers as fill vectors: what is left of one would be computed singly.
inline int64_t whole_vectors(int64_t number) { return (number + LANES - 1) / LANES * LANES; }

struct BFloat16 {
  uint16_t bits;
};

inline float widen(float value) { return value; }

inline float widen(BFloat16 value) {
  const uint32_t bits = uint32_t(value.bits) << 16;
  float wide;
  std::memcpy(&wide, &bits, sizeof wide);
  return wide;
}

inline void store(float& place, float value) { place = value; }

inline void store(BFloat16& place, float value) {  // to the nearest, ties to even
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  place.bits = uint16_t(value != value ? 0x7fc0 : rounded);
}

// SplitMix64 (Steele, Lea and Flood, 2014): the number that comes `index` steps after the seed's first.
inline uint64_t draw(uint64_t seed, uint64_t index) {
  uint64_t z = seed + (index + 1) * STEP;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

// Which elements stay: 16 bits of a draw each, those from `lowest` on.
struct Dropout {
  uint64_t seed;
  int16_t lowest;
  float scale;  // of those that stay

  // Factors of `count` elements, at most a block, from element `first` on; up to a whole vector of them.
  void factors(int64_t first, int64_t count, float* factor) const {
    uint64_t draws[BLOCK / 4 + LANES];
    int16_t bits[sizeof draws / sizeof(int16_t)];
    const int64_t begin = first / 4, numbers = whole_vectors(count), words = whole_vectors(numbers / 4 + 1);
    for (int64_t i = 0; i < words; ++i) draws[i] = draw(seed, uint64_t(begin + i));
    std::memcpy(bits, draws, sizeof(uint64_t) * words);
    const int16_t *own = bits + first % 4, least = lowest;
    const float kept = scale;
    for (int64_t i = 0; i < numbers; ++i) factor[i] = own[i] >= least ? kept : 0.0f;
  }
};

// e^x for x <= 0, to two units in the last place: 2^n times a polynomial in the rest (Cephes, Moshier, 1989).
inline float exponential(float x) {
  const float lowest = -87.0f;  // below are no normal numbers
  const float bounded = x < lowest ? lowest : x;
  const float n = (bounded * 1.44269504f + 12582912.0f) - 12582912.0f;  // 1.5 * 2^23: to the nearest integer
  const float rest = (bounded - n * 0.693359375f) + n * 2.12194440e-4f;
  float value = 1.9875691500e-4f;
  value = value * rest + 1.3981999507e-3f;
  value = value * rest + 8.3334519073e-3f;
  value = value * rest + 4.1665795894e-2f;
  value = value * rest + 1.6666665459e-1f;
  value = value * rest + 5.0000001201e-1f;
  value = value * rest * rest + rest + 1.0f;
  const uint32_t bits = uint32_t(int32_t(n) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return x < lowest ? 0.0f : value * power;
}

template <class T>
void drop(const T* x, T* result, int64_t number, Dropout dropout) {
#pragma omp parallel for schedule(static) if (number > FEW)
  for (int64_t first = 0; first < number; first += BLOCK) {
    float factor[BLOCK];
    const int64_t count = std::min(BLOCK, number - first);
    dropout.factors(first, count, factor);
    for (int64_t i = 0; i < count; ++i) store(result[first + i], widen(x[first + i]) * factor[i]);
  }
}

// LayerNorm (Ba et al., 2016, equation 4) of dropout(x + x_bias) + residual; `x_bias` may be null. `sum`, `mean` and
// `scale` are for the gradient.
template <class T>
void residual_norm(const T* x, const T* x_bias, const T* residual, const T* weight, const T* bias, float epsilon,
                   T* result, T* sum, float* mean, float* scale, int64_t rows, int64_t width, Dropout dropout) {
#pragma omp parallel for schedule(static) if (rows * width > FEW)
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t start = row * width;
    T* own = sum + start;
    float total = 0;
    for (int64_t first = 0; first < width; first += BLOCK) {
      float factor[BLOCK];
      const int64_t count = std::min(BLOCK, width - first), at = start + first;
      dropout.factors(at, count, factor);
      float shifted[BLOCK];
      if (x_bias)
        for (int64_t i = 0; i < count; ++i) shifted[i] = widen(x[at + i]) + widen(x_bias[first + i]);
      else
        for (int64_t i = 0; i < count; ++i) shifted[i] = widen(x[at + i]);
#pragma omp simd reduction(+ : total)
      for (int64_t i = 0; i < count; ++i) {
        store(own[first + i], shifted[i] * factor[i] + widen(residual[at + i]));
        total += widen(own[first + i]);
      }
    }
    const float middle = total / width;
    float squares = 0;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < width; ++i) {
      const float distance = widen(own[i]) - middle;
      squares += distance * distance;
    }
    const float inverse = 1 / std::sqrt(squares / width + epsilon);
    mean[row] = middle;
    scale[row] = inverse;
    for (int64_t i = 0; i < width; ++i)
      store(result[start + i], (widen(own[i]) - middle) * inverse * widen(weight[i]) + widen(bias[i]));
  }
}

// The gradients of x and of the residual.
template <class T>
void residual_norm_backward(const T* gradient, const T* sum, const float* mean, const float* scale, const T* weight,
                            T* of_x, T* of_residual, int64_t rows, int64_t width, Dropout dropout) {
#pragma omp parallel for schedule(static) if (rows * width > FEW)
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t start = row * width;
    const T *own = sum + start, *outer = gradient + start;
    const float middle = mean[row], inverse = scale[row];
    float plain = 0, along = 0;
#pragma omp simd reduction(+ : plain, along)
    for (int64_t i = 0; i < width; ++i) {
      const float inner = widen(outer[i]) * widen(weight[i]);
      plain += inner;
      along += inner * ((widen(own[i]) - middle) * inverse);
    }
    plain /= width;
    along /= width;
    for (int64_t first = 0; first < width; first += BLOCK) {
      float factor[BLOCK];
      const int64_t count = std::min(BLOCK, width - first), at = start + first;
      dropout.factors(at, count, factor);
      for (int64_t i = 0; i < count; ++i) {
        const float normal = (widen(own[first + i]) - middle) * inverse;
        const float inner = widen(outer[first + i]) * widen(weight[first + i]);
        const float found = (inner - plain - normal * along) * inverse;
        store(of_residual[at + i], found);
        store(of_x[at + i], found * factor[i]);
      }
    }
  }
}

// Each row's heads beside each other, (tokens, heads, size), to one head after the other, (heads, tokens, size), or back.
// `spans` has each row's first token and its number of them.
template <bool BACK, class T>
void change_order(const T* x, T* result, const int64_t* spans, int64_t rows, int64_t heads, int64_t size,
                  float divisor) {
#pragma omp parallel for collapse(2) schedule(static)
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t head = 0; head < heads; ++head) {
      const int64_t start = spans[2 * row], length = spans[2 * row + 1];
      for (int64_t token = 0; token < length; ++token) {
        const int64_t beside = ((start + token) * heads + head) * size;
        const int64_t apart = (start * heads + head * length + token) * size;
        const T* from = x + (BACK ? apart : beside);
        T* to = result + (BACK ? beside : apart);
        for (int64_t i = 0; i < size; ++i) store(to[i], widen(from[i]) / divisor);
      }
    }
}

// Softmax over the keys, in place, and dropout of it. `key_mask` may be null; each of its `masks` rows is that of
// `alike` rows of scores, then it is the next one's, and after the last the first one's again.
template <class T>
void probabilities(T* scores, T* dropped, const uint8_t* key_mask, int64_t rows, int64_t length, int64_t alike,
                   int64_t masks, Dropout dropout) {
#pragma omp parallel if (rows * length > FEW)
  {
    constexpr float LOWEST = -std::numeric_limits<float>::infinity();
    const int64_t whole = whole_vectors(length);
    std::vector<float> values(whole, LOWEST);
    float* value = values.data();
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; ++row) {
      const uint8_t* mask = key_mask ? key_mask + row / alike % masks * length : nullptr;
      const T* own = scores + row * length;
      for (int64_t i = 0; i < length; ++i) value[i] = widen(own[i]);
      for (int64_t i = 0; mask && i < length; ++i)
        if (!mask[i]) value[i] = LOWEST;
      for (int64_t i = length; i < whole; ++i) value[i] = LOWEST;
      float highest = LOWEST, total = 0;
#pragma omp simd reduction(max : highest)
      for (int64_t i = 0; i < whole; ++i) highest = value[i] > highest ? value[i] : highest;
#pragma omp simd reduction(+ : total)
      for (int64_t i = 0; i < whole; ++i) {
        value[i] = exponential(value[i] - highest);
        total += value[i];
      }
      const float inverse = 1 / total;
      for (int64_t first = 0; first < length; first += BLOCK) {
        float factor[BLOCK];
        const int64_t count = std::min(BLOCK, length - first), at = row * length + first;
        dropout.factors(at, count, factor);
        for (int64_t i = 0; i < count; ++i) {
          store(scores[at + i], value[first + i] * inverse);
          store(dropped[at + i], widen(scores[at + i]) * factor[i]);
        }
      }
    }
  }
}

// From the gradient of the dropped probabilities to that of the scores, which may be the same array. Where `dropped` is
// not null, the dropped probabilities are made again.
template <class T>
void probabilities_backward(const T* probability, const T* gradient, T* of_scores, T* dropped, int64_t rows,
                            int64_t length, Dropout dropout) {
#pragma omp parallel if (rows * length > FEW)
  {
    std::vector<float> values(length);
    float* inner = values.data();
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; ++row) {
      float along = 0;
      for (int64_t first = 0; first < length; first += BLOCK) {
        float factor[BLOCK];
        const int64_t count = std::min(BLOCK, length - first), at = row * length + first;
        dropout.factors(at, count, factor);
        for (int64_t i = 0; dropped && i < count; ++i)
          store(dropped[at + i], widen(probability[at + i]) * factor[i]);
#pragma omp simd reduction(+ : along)
        for (int64_t i = 0; i < count; ++i) {
          inner[first + i] = widen(gradient[at + i]) * factor[i];
          along += inner[first + i] * widen(probability[at + i]);
        }
      }
      const int64_t at = row * length;
      for (int64_t i = 0; i < length; ++i)
        store(of_scores[at + i], widen(probability[at + i]) * (inner[i] - along));
    }
  }
}

}  // namespace

#define EXPORT(T, NAME)                                                                                              \
  extern "C" void drop_##NAME(const T* x, T* result, int64_t number, uint64_t seed, int16_t lowest, float scale) {   \
    drop(x, result, number, {seed, lowest, scale});                                                                  \
  }                                                                                                                  \
  extern "C" void residual_norm_##NAME(const T* x, const T* x_bias, const T* residual, const T* weight,              \
                                       const T* bias, float epsilon, T* result, T* sum, float* mean,                 \
                                       float* norm_scale, int64_t rows, int64_t width, uint64_t seed,                \
                                       int16_t lowest, float scale) {                                                \
    residual_norm(x, x_bias, residual, weight, bias, epsilon, result, sum, mean, norm_scale, rows, width,            \
                  {seed, lowest, scale});                                                                            \
  }                                                                                                                  \
  extern "C" void residual_norm_backward_##NAME(const T* gradient, const T* sum, const float* mean,                  \
                                                const float* norm_scale, const T* weight, T* of_x, T* of_residual,   \
                                                int64_t rows, int64_t width, uint64_t seed, int16_t lowest,          \
                                                float scale) {                                                       \
    residual_norm_backward(gradient, sum, mean, norm_scale, weight, of_x, of_residual, rows, width,                  \
                           {seed, lowest, scale});                                                                   \
  }                                                                                                                  \
  extern "C" void heads_apart_##NAME(const T* x, T* result, const int64_t* spans, int64_t rows, int64_t heads,       \
                                     int64_t size, float divisor) {                                                  \
    change_order<false>(x, result, spans, rows, heads, size, divisor);                                               \
  }                                                                                                                  \
  extern "C" void heads_beside_##NAME(const T* x, T* result, const int64_t* spans, int64_t rows, int64_t heads,      \
                                      int64_t size, float divisor) {                                                 \
    change_order<true>(x, result, spans, rows, heads, size, divisor);                                                \
  }                                                                                                                  \
  extern "C" void probabilities_##NAME(T* scores, T* dropped, const uint8_t* key_mask, int64_t rows, int64_t length, \
                                       int64_t alike, int64_t masks, uint64_t seed, int16_t lowest, float scale) {   \
    probabilities(scores, dropped, key_mask, rows, length, alike, masks, {seed, lowest, scale});                     \
  }                                                                                                                  \
  extern "C" void probabilities_backward_##NAME(const T* probability, const T* gradient, T* of_scores, T* dropped,   \
                                                int64_t rows, int64_t length, uint64_t seed, int16_t lowest,         \
                                                float scale) {                                                       \
    probabilities_backward(probability, gradient, of_scores, dropped, rows, length, {seed, lowest, scale});          \
  }

EXPORT(float, float32)
EXPORT(BFloat16, bfloat16)
