// Element-wise pieces of a training step on a CPU: each reads its inputs once, while they are in the cache.
// What they compute is said by their plain forms, layers/dropout.py and residual_norm.py; tests hold both together.
// Arrays are contiguous. Threads are those of PyTorch, whose OpenMP library this is loaded beside.

#include <algorithm>
#include <cmath>

#include "scratch.h"
#include "vectors.h"

namespace {

constexpr int64_t FEW = 32768;  // elements that one thread computes faster alone

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

// Rows of fp32 that a thread keeps from call to call, of whole vectors.
class Lines {
 public:
  explicit Lines(int64_t width)
      : numbers(whole_vectors(width)), scratch(own_memory(), MOST * Scratch::bytes<float>(numbers)) {}

  float* empty() { return scratch.cut<float>(numbers); }

  // Of an array that may be null: zeros then, which are also behind it.
  template <class T>
  float* of(const T* x, int64_t width) {
    float* line = empty();
    for (int64_t i = 0; i < width; i += WIDTH) store(line + i, x ? load(x, i, width) : Vector{});
    return line;
  }

 private:
  static constexpr int64_t MOST = 5;
  static Memory& own_memory() {
    static thread_local Memory memory;
    return memory;
  }
  int64_t numbers;
  Scratch scratch;
};

inline float squared_distances(const float* x, int64_t width, float middle) {
  Vector squares{};
  int64_t i = 0;
  for (; i + WIDTH <= width; i += WIDTH) {
    const Vector distance = load(x + i) - middle;
    squares += distance * distance;
  }
  float sum = total(squares);
  for (; i < width; ++i) sum += (x[i] - middle) * (x[i] - middle);
  return sum;
}

// LayerNorm (Ba et al., 2016, equation 4) of dropout(x + x_bias) + residual; `x_bias` may be null. `sum`, `mean` and
// `scale` are for the gradient, and null where it is not wanted.
template <class T>
void residual_norm(const T* x, const T* x_bias, const T* residual, const T* weight, const T* bias, float epsilon,
                   T* result, T* sum, float* mean, float* scale, int64_t rows, int64_t width, Dropout dropout) {
#pragma omp parallel if (rows * width > FEW)
  {
    Lines lines(width);
    const float *weights = lines.of(weight, width), *biases = lines.of(bias, width);
    const float* x_biases = lines.of(x_bias, width);
    float *own = lines.empty(), *factor = lines.empty();
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t start = row * width;
      dropout.factors(start, width, factor);
      Vector all{};
      for (int64_t i = 0; i < width; i += WIDTH) {
        const Vector shifted = load(x + start, i, width) + load(x_biases + i);
        const Vector found = shifted * load(factor + i) + load(residual + start, i, width);
        if (sum) store(sum + start, i, width, found);
        const Vector kept = rounded(found, x);
        store(own + i, kept);
        all += kept;
      }
      const float middle = total(all) / width;
      const float inverse = 1 / std::sqrt(squared_distances(own, width, middle) / width + epsilon);
      if (sum) mean[row] = middle, scale[row] = inverse;
      for (int64_t i = 0; i < width; i += WIDTH)
        store(result + start, i, width, (load(own + i) - middle) * inverse * load(weights + i) + load(biases + i));
    }
  }
}

// The gradients of x and of the residual.
template <class T>
void residual_norm_backward(const T* gradient, const T* sum, const float* mean, const float* scale, const T* weight,
                            T* of_x, T* of_residual, int64_t rows, int64_t width, Dropout dropout) {
#pragma omp parallel if (rows * width > FEW)
  {
    Lines lines(width);
    const float* weights = lines.of(weight, width);
    float *inner = lines.empty(), *normal = lines.empty(), *factor = lines.empty();
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t start = row * width;
      const float middle = mean[row], inverse = scale[row];
      Vector all{}, all_along{};
      for (int64_t i = 0; i < width; i += WIDTH) {
        const Vector here = load(gradient + start, i, width) * load(weights + i);
        const Vector place = (load(sum + start, i, width) - middle) * inverse;
        store(inner + i, here), store(normal + i, place);
        all += here;
        all_along += here * place;
      }
      const float plain = total(all) / width, along = total(all_along) / width;
      dropout.factors(start, width, factor);
      for (int64_t i = 0; i < width; i += WIDTH) {
        const Vector found = (load(inner + i) - plain - load(normal + i) * along) * inverse;
        store(of_residual + start, i, width, found);
        store(of_x + start, i, width, found * load(factor + i));
      }
    }
  }
}

}  // namespace

// The gradient of a function of bfloat16: each of its 65,536 arguments has its slope in a table.
extern "C" void times_slope(const BFloat16* x, const float* slopes, const BFloat16* gradient, BFloat16* result,
                            int64_t number) {
#pragma omp parallel for schedule(static) if (number > FEW)
  for (int64_t i = 0; i < number; ++i) store(result[i], widen(gradient[i]) * slopes[x[i].bits]);
}

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
  }

EXPORT(float, float32)
EXPORT(BFloat16, bfloat16)
