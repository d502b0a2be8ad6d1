// Products of matrices in fp32, in registers; compiled with fused multiply-add, twice as fast.
//
// `Floats`, and on matrix units `Halves` of tiles.h, say what a product's sides are, how a head's tokens are made into
// sides, and what has been computed in fp32 into a left one.

#pragma once

#include <algorithm>

#include "scratch.h"
#include "vectors.h"

namespace {

// Transpose four rows of four numbers.
inline void turn_four(const float* x, int64_t x_row, float* turned, int64_t turned_row) {
#if defined(__has_builtin) && __has_builtin(__builtin_shufflevector)
  typedef float Four __attribute__((vector_size(16)));
  Four a, b, c, d;
  std::memcpy(&a, x, sizeof a), std::memcpy(&b, x + x_row, sizeof b);
  std::memcpy(&c, x + 2 * x_row, sizeof c), std::memcpy(&d, x + 3 * x_row, sizeof d);
  const Four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_after = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Four cd = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_after = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  const Four rows[4] = {
      __builtin_shufflevector(ab, cd, 0, 1, 4, 5), __builtin_shufflevector(ab, cd, 2, 3, 6, 7),
      __builtin_shufflevector(ab_after, cd_after, 0, 1, 4, 5), __builtin_shufflevector(ab_after, cd_after, 2, 3, 6, 7)};
  for (int i = 0; i < 4; ++i) std::memcpy(turned + i * turned_row, &rows[i], sizeof rows[i]);
#else
  for (int i = 0; i < 4; ++i)
    for (int t = 0; t < 4; ++t) turned[i * turned_row + t] = x[t * x_row + i];
#endif
}

class Floats {
 public:
  static constexpr int64_t FEW = 16;  // queries, or keys, that are multiplied by their distances at once

  // The left side of a product; element (i, k) is at `i * row + k * column`.
  struct Left {
    const float* values;
    int64_t row, column;
  };

  // The right side, row by row.
  struct Right {
    const float* values;
    int64_t step;
    Right columns_from(int64_t first) const { return {values + first, step}; }
  };

  // Tokens of one head. `read` gives what `left` needs, `turn` what `turned`, and `pair` what `right` needs.
  class Tokens {
   public:
    static int64_t bytes(int64_t most, int64_t size) {
      return 2 * Scratch::bytes<float>(whole_vectors(most) * whole_vectors(size));
    }

    // Up to `most` tokens of `size` numbers; right sides begin at tokens of even number, or at any.
    Tokens(Scratch& scratch, int64_t most, int64_t size, bool = false)
        : size(size), width(whole_vectors(size)), rows(scratch.cut<float>(whole_vectors(most) * width)),
          turned_rows(scratch.cut<float>(whole_vectors(most) * width)) {}

    // Tokens are `step` numbers apart, and other heads beside this one.
    template <class T>
    void read(const T* x, int64_t tokens, int64_t step) {
      count = tokens;
      for (int64_t t = 0; t < count; ++t) {
        const T* from = x + t * step;
        float* to = rows + t * width;
        for (int64_t i = 0; i < size; ++i) to[i] = widen(from[i]);
        for (int64_t i = 0; i < size; i += LINE / int64_t(sizeof(T))) __builtin_prefetch(from + size + i);  // next head
        for (int64_t i = size; i < width; ++i) to[i] = 0;
      }
    }

    void turn() {
      const int64_t step = whole_vectors(count);
      std::fill(rows + count * width, rows + step * width, 0.0f);
      for (int64_t t = 0; t < step; t += 4)
        for (int64_t i = 0; i < width; i += 4) turn_four(rows + t * width + i, width, turned_rows + i * step + t, step);
    }

    void pair() {}  // rows are a right side as they are

    // (tokens, size) from a token on, on the left or the right, and (size, tokens).
    Left left(int64_t first) const { return {rows + first * width, width, 1}; }
    Right right(int64_t first) const { return {rows + first * width, width}; }
    Right turned() const { return {turned_rows, whole_vectors(count)}; }

   private:
    int64_t size, width, count = 0;
    float *rows, *turned_rows;
  };

  static int64_t bytes(int64_t, int64_t) { return 0; }
  Floats(Scratch&, int64_t, int64_t) {}

  // Of what is computed in fp32: (rows, depth), or the transpose of (depth, rows). Rows are `step` apart, of whole
  // vectors, with zeros behind.
  Left left(const float* x, int64_t step, int64_t, int64_t) const { return {x, step, 1}; }
  Left turned_left(const float* x, int64_t step, int64_t, int64_t) const { return {x, 1, step}; }

  // C = A B, or C += A B: (rows, depth) times (depth, columns). Rows of C are `c_row` apart. B and C have room for
  // whole vectors of columns, C for as many rows. One function for all that call it: it takes long to compile.
  __attribute__((noinline)) static void multiply(Left a, Right b, float* c, int64_t c_row, int64_t rows, int64_t depth,
                                                 int64_t columns, bool add = false) {
    int64_t j = 0;
    for (; j + VECTORS * WIDTH <= columns; j += VECTORS * WIDTH)
      multiply_columns<ROWS, VECTORS>(a, b.columns_from(j), c + j, c_row, rows, depth, add);
    for (; j < columns; j += WIDTH) multiply_columns<ROWS, 1>(a, b.columns_from(j), c + j, c_row, rows, depth, add);
  }

 private:
#if defined(__AVX__) && !defined(__AVX512F__)
  static constexpr int ROWS = 4;
#else
  static constexpr int ROWS = 8;
#endif
  static constexpr int VECTORS = 2;

  template <int R, int C>
  static void multiply_columns(Left a, Right b, float* c, int64_t c_row, int64_t rows, int64_t depth, bool add) {
    for (; rows >= R; rows -= R, a.values += R * a.row, c += R * c_row) multiply_tile<R, C>(a, b, c, c_row, depth, add);
    if constexpr (R > 1)
      if (rows) multiply_columns<R / 2, C>(a, b, c, c_row, rows, depth, add);
  }

  // R rows and C vectors of columns.
  template <int R, int C>
  static void multiply_tile(Left a, Right b, float* c, int64_t c_row, int64_t depth, bool add) {
    Vector sum[R][C];
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < C; ++v) sum[r][v] = add ? load(c + r * c_row + v * WIDTH) : Vector{};
    for (int64_t k = 0; k < depth; ++k) {
      Vector right[C];
      for (int v = 0; v < C; ++v) right[v] = load(b.values + k * b.step + v * WIDTH);
      for (int r = 0; r < R; ++r)
        for (int v = 0; v < C; ++v) sum[r][v] += a.values[r * a.row + k * a.column] * right[v];
    }
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < C; ++v) std::memcpy(c + r * c_row + v * WIDTH, &sum[r][v], sizeof(Vector));
  }
};

}  // namespace
