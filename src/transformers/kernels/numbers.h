// What all kernels share: both dtypes as floats, dropout's draws, and the exponential.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace {

constexpr int64_t BLOCK = 512;  // elements whose factors are made at once
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

// Which elements stay: 16 bits of a draw each, those from `lowest` on; all where that is the lowest number.
struct Dropout {
  uint64_t seed;
  int16_t lowest;
  float scale;  // of those that stay

  bool keeps_all() const { return lowest == INT16_MIN; }

  // Factors of `count` elements from element `first` on; up to a whole vector of them.
  void factors(int64_t first, int64_t count, float* factor) const {
    for (int64_t done = 0; done < count; done += BLOCK)
      block(first + done, std::min(BLOCK, count - done), factor + done);
  }

 private:
  void block(int64_t first, int64_t count, float* factor) const {
    if (keeps_all()) {
      std::fill_n(factor, whole_vectors(count), 1.0f);
      return;
    }
    uint64_t draws[BLOCK / 4 + LANES];
    int16_t bits[BLOCK + 4 * LANES];
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

}  // namespace
