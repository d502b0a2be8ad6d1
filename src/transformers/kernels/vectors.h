// Vectors of the widest registers that the processor has, and what is made of all their numbers.

#pragma once

#include "numbers.h"

namespace {

#if defined(__AVX512F__)
constexpr int64_t WIDTH = 16;  // numbers of a register
#elif defined(__AVX__)
constexpr int64_t WIDTH = 8;
#else
constexpr int64_t WIDTH = 4;
#endif

typedef float Vector __attribute__((vector_size(4 * WIDTH)));

inline Vector load(const float* x) {
  Vector value;
  std::memcpy(&value, x, sizeof value);
  return value;
}

// Join the numbers of a vector: one half with the other, as long as there are two.
template <class Join>
inline float joined(Vector x, Join join) {
  float numbers[WIDTH];
  std::memcpy(numbers, &x, sizeof numbers);
  for (int64_t half = WIDTH / 2; half; half /= 2)
    for (int64_t i = 0; i < half; ++i) numbers[i] = join(numbers[i], numbers[i + half]);
  return numbers[0];
}

// Of whole vectors: the sum, the sum of products, and the highest number.
inline float total(const float* x, int64_t whole) {
  Vector sum{};
  for (int64_t i = 0; i < whole; i += WIDTH) sum += load(x + i);
  return joined(sum, [](float a, float b) { return a + b; });
}

inline float total_of_products(const float* x, const float* y, int64_t whole) {
  Vector sum{};
  for (int64_t i = 0; i < whole; i += WIDTH) sum += load(x + i) * load(y + i);
  return joined(sum, [](float a, float b) { return a + b; });
}

inline float highest(const float* x, int64_t whole) {
  Vector most = load(x);
  for (int64_t i = WIDTH; i < whole; i += WIDTH) {
    const Vector next = load(x + i);
    most = next > most ? next : most;
  }
  return joined(most, [](float a, float b) { return b > a ? b : a; });
}

}  // namespace
