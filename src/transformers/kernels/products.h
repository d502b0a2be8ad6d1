// Small products of matrices in fp32, in registers; compiled with fused multiply-add, twice as fast.

#pragma once

#include "numbers.h"

namespace {

#if defined(__AVX512F__)
constexpr int64_t WIDTH = 16;  // numbers of a register
constexpr int ROWS = 8;
#elif defined(__AVX__)
constexpr int64_t WIDTH = 8;
constexpr int ROWS = 4;
#else
constexpr int64_t WIDTH = 4;
constexpr int ROWS = 8;
#endif
constexpr int VECTORS = 2;

typedef float Vector __attribute__((vector_size(4 * WIDTH)));

// The left matrix of a product; element (i, k) is at `i * row + k * column`.
struct Left {
  const float* values;
  int64_t row, column;
};

// R rows and C vectors of columns of what `multiply` gives.
template <int R, int C>
inline void multiply_tile(Left a, const float* b, int64_t b_row, float* c, int64_t c_row, int64_t depth, bool add) {
  Vector sum[R][C];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < C; ++v) {
      sum[r][v] = Vector{};
      if (add) std::memcpy(&sum[r][v], c + r * c_row + v * WIDTH, sizeof(Vector));
    }
  for (int64_t k = 0; k < depth; ++k) {
    Vector right[C];
    for (int v = 0; v < C; ++v) std::memcpy(&right[v], b + k * b_row + v * WIDTH, sizeof(Vector));
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < C; ++v) sum[r][v] += a.values[r * a.row + k * a.column] * right[v];
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < C; ++v) std::memcpy(c + r * c_row + v * WIDTH, &sum[r][v], sizeof(Vector));
}

template <int R, int C>
inline void multiply_columns(Left a, const float* b, int64_t b_row, float* c, int64_t c_row, int64_t rows,
                             int64_t depth, bool add) {
  for (; rows >= R; rows -= R, a.values += R * a.row, c += R * c_row)
    multiply_tile<R, C>(a, b, b_row, c, c_row, depth, add);
  if constexpr (R > 1)
    if (rows) multiply_columns<R / 2, C>(a, b, b_row, c, c_row, rows, depth, add);
}

// C = A B, or C += A B: (rows, depth) times (depth, columns). Rows of B and C are `b_row` and `c_row` apart, and have
// room for whole vectors of columns. One function for all that call it: it takes long to compile.
__attribute__((noinline)) void multiply(Left a, const float* b, int64_t b_row, float* c, int64_t c_row, int64_t rows,
                                        int64_t depth, int64_t columns, bool add = false) {
  int64_t j = 0;
  for (; j + VECTORS * WIDTH <= columns; j += VECTORS * WIDTH)
    multiply_columns<ROWS, VECTORS>(a, b + j, b_row, c + j, c_row, rows, depth, add);
  for (; j < columns; j += WIDTH) multiply_columns<ROWS, 1>(a, b + j, b_row, c + j, c_row, rows, depth, add);
}

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

}  // namespace
