// Vectors of the widest registers that the processor has: numbers of both dtypes as fp32, and what all of them make.

#pragma once

#include <algorithm>

#include "numbers.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include <immintrin.h>
#define HAS_MASKS  // and what brings the numbers of a vector together
#endif

namespace {

#if defined(__AVX512F__)
constexpr int64_t WIDTH = 16;  // numbers of a register
#elif defined(__AVX__)
constexpr int64_t WIDTH = 8;
#else
constexpr int64_t WIDTH = 4;
#endif

typedef float Vector __attribute__((vector_size(4 * WIDTH)));
typedef uint32_t Words __attribute__((vector_size(4 * WIDTH)));
typedef uint16_t Shorts __attribute__((vector_size(2 * WIDTH)));

inline Vector widen(Shorts bits) { return (Vector)(__builtin_convertvector(bits, Words) << 16); }

inline Shorts narrow(Vector value) {  // to the nearest, ties to even
#if defined(__AVX512BF16__) && defined(HAS_MASKS)
  return (Shorts)_mm512_cvtneps_pbh((__m512)value);
#else
  const Words bits = (Words)value, rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return __builtin_convertvector(value != value ? Words{} + 0x7fc0 : rounded, Shorts);
#endif
}

inline Vector load(const float* x) {
  Vector value;
  std::memcpy(&value, x, sizeof value);
  return value;
}

inline Vector load(const BFloat16* x) {
  Shorts bits;
  std::memcpy(&bits, x, sizeof bits);
  return widen(bits);
}

inline void store(float* x, Vector value) { std::memcpy(x, &value, sizeof value); }

inline void store(BFloat16* x, Vector value) {
  const Shorts bits = narrow(value);
  std::memcpy(x, &bits, sizeof bits);
}

#ifdef HAS_MASKS
inline __mmask16 first(int64_t number) { return __mmask16((1u << number) - 1); }
inline Vector load_first(const float* x, int64_t number) { return (Vector)_mm512_maskz_loadu_ps(first(number), x); }
inline Vector load_first(const BFloat16* x, int64_t number) {
  return widen((Shorts)_mm256_maskz_loadu_epi16(first(number), x));
}
inline void store_first(float* x, int64_t number, Vector value) {
  _mm512_mask_storeu_ps(x, first(number), (__m512)value);
}
inline void store_first(BFloat16* x, int64_t number, Vector value) {
  _mm256_mask_storeu_epi16(x, first(number), (__m256i)narrow(value));
}
#else
template <class T>
inline Vector load_first(const T* x, int64_t number) {
  T numbers[WIDTH] = {};
  std::copy_n(x, number, numbers);
  return load(numbers);
}
template <class T>
inline void store_first(T* x, int64_t number, Vector value) {
  T numbers[WIDTH];
  store(numbers, value);
  std::copy_n(numbers, number, x);
}
#endif

// The vector from place `i` on of a row, with zeros behind its last number.
template <class T>
inline Vector load(const T* row, int64_t i, int64_t width) {
  return i + WIDTH <= width ? load(row + i) : load_first(row + i, width - i);
}

// And its numbers to their places.
template <class T>
inline void store(T* row, int64_t i, int64_t width, Vector value) {
  if (i + WIDTH <= width) store(row + i, value);
  else store_first(row + i, width - i, value);
}

// A vector as a dtype has it.
inline Vector rounded(Vector value, const float*) { return value; }
inline Vector rounded(Vector value, const BFloat16*) { return widen(narrow(value)); }

// The sum of a vector's numbers, and the highest of them.
#ifdef HAS_MASKS
inline float total(Vector x) { return _mm512_reduce_add_ps((__m512)x); }
inline float highest(Vector x) { return _mm512_reduce_max_ps((__m512)x); }
#else
// Join one half with the other, as long as there are two.
template <class Join>
inline float joined(Vector x, Join join) {
  float numbers[WIDTH];
  store(numbers, x);
  for (int64_t half = WIDTH / 2; half; half /= 2)
    for (int64_t i = 0; i < half; ++i) numbers[i] = join(numbers[i], numbers[i + half]);
  return numbers[0];
}

inline float total(Vector x) {
  return joined(x, [](float a, float b) { return a + b; });
}

inline float highest(Vector x) {
  return joined(x, [](float a, float b) { return b > a ? b : a; });
}
#endif

// Of whole vectors: the sum, the sum of products, and the highest number.
inline float total(const float* x, int64_t whole) {
  Vector sum{};
  for (int64_t i = 0; i < whole; i += WIDTH) sum += load(x + i);
  return total(sum);
}

inline float total_of_products(const float* x, const float* y, int64_t whole) {
  Vector sum{};
  for (int64_t i = 0; i < whole; i += WIDTH) sum += load(x + i) * load(y + i);
  return total(sum);
}

inline float highest(const float* x, int64_t whole) {
  Vector most = load(x);
  for (int64_t i = WIDTH; i < whole; i += WIDTH) {
    const Vector next = load(x + i);
    most = next > most ? next : most;
  }
  return highest(most);
}

}  // namespace
