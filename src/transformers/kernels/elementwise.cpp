// Element-wise pieces of a training step on a CPU: each reads its inputs once, while they are in the cache.
// What they compute is said by their plain forms, layers/dropout.py and residual_norm.py; tests hold both together.
// Arrays are contiguous. Threads are those of PyTorch, whose OpenMP library this is loaded beside.

#include <algorithm>
#include <cmath>

#include "numbers.h"

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

// LayerNorm (Ba et al., 2016, equation 4) of dropout(x + x_bias) + residual; `x_bias` may be null. `sum`, `mean` and
// `scale` are for the gradient; where it is not wanted they are null, and a sum stands where its result is put then.
template <class T>
void residual_norm(const T* x, const T* x_bias, const T* residual, const T* weight, const T* bias, float epsilon,
                   T* result, T* sum, float* mean, float* scale, int64_t rows, int64_t width, Dropout dropout) {
#pragma omp parallel for schedule(static) if (rows * width > FEW)
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t start = row * width;
    T* own = (sum ? sum : result) + start;
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
    if (sum) mean[row] = middle, scale[row] = inverse;
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
