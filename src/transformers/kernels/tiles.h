// Products of matrices of bfloat16 on a processor's matrix units (Intel AMX), with sums in fp32.
//
// A tile is 16 rows of 64 bytes: of a left side 16 rows of 32 numbers; of a right side 16 pairs of rows, 16 columns
// each, a column's two numbers together in a word; of a result 16 rows of 16 numbers in fp32.

#pragma once

#include "products.h"

#if defined(__linux__) && defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__AVX512BW__)
#define HAS_TILES

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

// Compilers are told that any memory may be read or written.
#define LOAD_TILE(T, PLACE, STEP) \
  asm volatile("tileloadd (%0,%1,1), %%tmm" #T ::"r"(PLACE), "r"(int64_t(STEP)) : "memory")
#define STORE_TILE(T, PLACE, STEP) \
  asm volatile("tilestored %%tmm" #T ", (%0,%1,1)" ::"r"(PLACE), "r"(int64_t(STEP)) : "memory")
#define CLEAR_TILE(T) asm volatile("tilezero %%tmm" #T ::: "memory")
#define MULTIPLY_TILES(C, A, B) asm volatile("tdpbf16ps %%tmm" #B ", %%tmm" #A ", %%tmm" #C ::: "memory")

namespace {

constexpr int64_t TILE = 16;   // rows of a tile, and words of a row
constexpr int64_t DEPTH = 32;  // numbers that one instruction multiplies and adds

inline int64_t whole_depths(int64_t number) { return (number + DEPTH - 1) / DEPTH * DEPTH; }

// Transpose 16 rows of 16 words.
inline void turn_sixteen(__m512i (&x)[16]) {
  __m512i y[16];
  for (int i = 0; i < 16; i += 2) {
    y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
    y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int j = 0; j < 2; ++j) {
      x[i + 2 * j] = _mm512_unpacklo_epi64(y[i + j], y[i + j + 2]);
      x[i + 2 * j + 1] = _mm512_unpackhi_epi64(y[i + j], y[i + j + 2]);
    }
  for (int i = 0; i < 16; i += 8)
    for (int j = 0; j < 4; ++j) {
      y[i + j] = _mm512_shuffle_i32x4(x[i + j], x[i + j + 4], 0x88);
      y[i + j + 4] = _mm512_shuffle_i32x4(x[i + j], x[i + j + 4], 0xdd);
    }
  for (int j = 0; j < 8; ++j) {
    x[j] = _mm512_shuffle_i32x4(y[j], y[j + 8], 0x88);
    x[j + 8] = _mm512_shuffle_i32x4(y[j], y[j + 8], 0xdd);
  }
}

class Halves {
 public:
  static constexpr int64_t FEW = 32;  // queries, or keys, that are multiplied by their distances at once

  // The left side of a product, row by row, with zeros up to whole depths.
  struct Left {
    const uint16_t* values;
    int64_t step;
  };

  // The right side: from one pair of rows to the next are `step` words. Up to whole depths it has finite numbers.
  struct Right {
    const uint32_t* values;
    int64_t step;
    Right columns_from(int64_t first) const { return {values + first, step}; }
  };

  // As those of `Floats`.
  class Tokens {
   public:
    static int64_t bytes(int64_t most, int64_t size) {
      const int64_t whole = whole_depths(most), depth = whole_depths(size);
      return Scratch::bytes<uint16_t>(whole * depth) + Scratch::bytes<uint32_t>(whole * whole_vectors(size)) +
             Scratch::bytes<uint32_t>(whole * depth / 2);
    }

    Tokens(Scratch& scratch, int64_t most, int64_t size, bool begin_anywhere = false)
        : size(size), width(whole_vectors(size)), depth(whole_depths(size)), apart(begin_anywhere ? 1 : 2),
          rows(scratch.cut<uint16_t>(whole_depths(most) * depth)),
          pairs(scratch.cut<uint32_t>(whole_depths(most) * width)),
          turned_pairs(scratch.cut<uint32_t>(whole_depths(most) * depth / 2)) {}

    void read(const BFloat16* x, int64_t tokens, int64_t step) {
      count = tokens;
      for (int64_t t = 0; t < count; ++t) {
        const BFloat16* from = x + t * step;
        uint16_t* to = rows + t * depth;
        std::memcpy(to, from, sizeof(BFloat16) * size);
        for (int64_t i = 0; i < size; i += LINE / int64_t(sizeof(BFloat16)))
          __builtin_prefetch(from + size + i);  // next head
        std::fill(to + size, to + depth, 0);
      }
    }

    // A dimension's number and the next one's, of each token.
    void turn() {
      const int64_t step = whole_vectors(count), words = depth / 2;
      const uint32_t* from = reinterpret_cast<const uint32_t*>(rows);
      for (int64_t t = 0; t < step; t += TILE)
        for (int64_t i = 0; i < words; i += TILE) {
          __m512i block[16];
          for (int64_t j = 0; j < TILE; ++j) block[j] = _mm512_load_si512(from + (t + j) * words + i);
          turn_sixteen(block);
          for (int64_t j = 0; j < TILE; ++j) _mm512_store_si512(turned_pairs + (i + j) * step + t, block[j]);
        }
    }

    // A token's number and the next one's: of every second token, or where right sides begin anywhere of every one.
    void pair() {
      const int64_t whole = whole_depths(count) + (apart == 1 ? DEPTH : 0);
      std::fill(rows + count * depth, rows + whole * depth, 0);
      for (int64_t t = 0; t + 1 < whole; t += apart) {
        const uint16_t *one = rows + t * depth, *next = one + depth;
        uint32_t* to = pairs + t / apart * width;
        for (int64_t i = 0; i < width; ++i) to[i] = one[i] | uint32_t(next[i]) << 16;
      }
    }

    Left left(int64_t first) const { return {rows + first * depth, depth}; }
    Right right(int64_t first) const { return {pairs + first / apart * width, 2 / apart * width}; }
    Right turned() const { return {turned_pairs, whole_vectors(count)}; }

   private:
    int64_t size, width, depth, count = 0, apart;
    uint16_t* rows;
    uint32_t *pairs, *turned_pairs;
  };

  // Ask the system for the units, for all threads.
  static bool available() {
    constexpr long ASK = 0x1023, TILE_DATA = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, ASK, TILE_DATA) == 0;
  }

  static int64_t bytes(int64_t rows, int64_t columns) {
    return Scratch::bytes<uint16_t>(whole_depths(rows) * whole_depths(columns));
  }

  // For left sides of up to (rows, columns) or (columns, rows). Other libraries remember how they have set this
  // thread's units up, and are to find them so.
  Halves(Scratch& scratch, int64_t rows, int64_t columns)
      : rounded(scratch.cut<uint16_t>(whole_depths(rows) * whole_depths(columns))) {
    alignas(64) uint8_t whole_tiles[64] = {1};
    for (int i = 0; i < 8; ++i) whole_tiles[16 + 2 * i] = 64, whole_tiles[48 + i] = TILE;
    asm volatile("sttilecfg %0" : "=m"(before)::"memory");
    asm volatile("ldtilecfg %0" ::"m"(whole_tiles) : "memory");
  }
  ~Halves() { asm volatile("ldtilecfg %0" ::"m"(before) : "memory"); }
  Halves(const Halves&) = delete;
  Halves& operator=(const Halves&) = delete;

  Left left(const float* x, int64_t step, int64_t rows, int64_t depth) const {
    const int64_t whole = whole_depths(depth);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t k = 0; k < depth; k += DEPTH) {
        const float* from = x + i * step + k;
        const __m512 low = _mm512_load_ps(from), high = k + TILE < depth ? _mm512_load_ps(from + TILE) : __m512{};
        _mm512_store_si512(rounded + i * whole + k, (__m512i)_mm512_cvtne2ps_pbh(high, low));
      }
    return {rounded, whole};
  }

  Left turned_left(const float* x, int64_t step, int64_t rows, int64_t depth) const {
    const int64_t whole = whole_depths(depth);
    for (int64_t i = 0; i < rows; i += TILE)
      for (int64_t k = 0; k < depth; k += DEPTH) {
        __m512i block[16];
        for (int64_t j = 0; j < TILE; ++j) block[j] = pair(x + i, step, k + 2 * j, depth);
        turn_sixteen(block);
        for (int64_t j = 0; j < TILE; ++j) _mm512_store_si512(rounded + (i + j) * whole + k, block[j]);
      }
    return {rounded, whole};
  }

  __attribute__((noinline)) static void multiply(Left a, Right b, float* c, int64_t c_row, int64_t rows, int64_t depth,
                                                 int64_t columns, bool add = false) {
    for (int64_t i = 0; i < rows; i += 2 * TILE, a.values += 2 * TILE * a.step)
      for (int64_t j = 0; j < columns; j += 2 * TILE) {
        const Right some = b.columns_from(j);
        float* to = c + i * c_row + j;
        const bool high = i + TILE < rows, wide = j + TILE < columns;
        if (high && wide) multiply_tiles<true, true>(a, some, to, c_row, depth, add);
        else if (high) multiply_tiles<true, false>(a, some, to, c_row, depth, add);
        else if (wide) multiply_tiles<false, true>(a, some, to, c_row, depth, add);
        else multiply_tiles<false, false>(a, some, to, c_row, depth, add);
      }
  }

 private:
  // 16 numbers of row `k` and of the next, rounded; zeros beyond the depth.
  static __m512i pair(const float* x, int64_t step, int64_t k, int64_t depth) {
    const __m512 one = k < depth ? _mm512_load_ps(x + k * step) : __m512{};
    const __m512 next = k + 1 < depth ? _mm512_load_ps(x + (k + 1) * step) : __m512{};
    const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(one));
    const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(next));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
  }

  // One or two by one or two tiles of C: these are tiles 0 to 3, those of A 4 and 5, those of B 6 and 7.
  template <bool HIGH, bool WIDE>
  static void multiply_tiles(Left a, Right b, float* c, int64_t c_row, int64_t depth, bool add) {
    const int64_t a_step = sizeof(uint16_t) * a.step, b_step = sizeof(uint32_t) * b.step;
    const int64_t c_step = sizeof(float) * c_row;
    float *beside = c + TILE, *below = c + TILE * c_row, *last = below + TILE;
    if (add) {
      LOAD_TILE(0, c, c_step);
      if (WIDE) LOAD_TILE(1, beside, c_step);
      if (HIGH) LOAD_TILE(2, below, c_step);
      if (HIGH && WIDE) LOAD_TILE(3, last, c_step);
    } else {
      CLEAR_TILE(0);
      if (WIDE) CLEAR_TILE(1);
      if (HIGH) CLEAR_TILE(2);
      if (HIGH && WIDE) CLEAR_TILE(3);
    }
    for (int64_t k = 0; k < depth; k += DEPTH, a.values += DEPTH, b.values += DEPTH / 2 * b.step) {
      LOAD_TILE(4, a.values, a_step);
      LOAD_TILE(6, b.values, b_step);
      MULTIPLY_TILES(0, 4, 6);
      if (WIDE) LOAD_TILE(7, b.values + TILE, b_step);
      if (WIDE) MULTIPLY_TILES(1, 4, 7);
      if (HIGH) LOAD_TILE(5, a.values + TILE * a.step, a_step);
      if (HIGH) MULTIPLY_TILES(2, 5, 6);
      if (HIGH && WIDE) MULTIPLY_TILES(3, 5, 7);
    }
    STORE_TILE(0, c, c_step);
    if (WIDE) STORE_TILE(1, beside, c_step);
    if (HIGH) STORE_TILE(2, below, c_step);
    if (HIGH && WIDE) STORE_TILE(3, last, c_step);
  }

  uint16_t* rounded;
  alignas(64) uint8_t before[64];
};

}  // namespace

#endif
