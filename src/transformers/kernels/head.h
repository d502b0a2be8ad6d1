// One head of one row of a batch: what is read of it, its scores, its softmax, its dropout.
//
// A head's tokens are rows of whole vectors, with zeros behind; "turned" is their transpose.

#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "numbers.h"
#include "products.h"

namespace {

constexpr int64_t QUERIES = 64;     // whose scores are in the cache at once
constexpr int64_t FEW = 16;         // queries, or keys, that are multiplied by their distances at once
constexpr int64_t LINE = 64;        // bytes that come into the cache at once
constexpr int64_t SMALL = 1 << 16;  // work for which threads are not worth their start
constexpr float LOWEST = -std::numeric_limits<float>::infinity();

}  // namespace

extern "C" {

struct Row {
  int64_t start, length;            // its first token, and how many
  int64_t query, queries, offset;   // its first query, how many, and the token that this one is of
  int64_t group, first, head_step;  // whose draws its dropout takes, from which element on, and how far heads are apart
  int64_t kept;                     // where its probabilities are among all that are kept
};

struct Batch {
  const Row* row;
  const uint64_t* seeds;    // of each group
  const uint8_t* key_mask;  // of each token; null where all may be attended to
  int64_t rows, heads, size, longest;
  int64_t query_step, key_step, value_step;  // numbers from one token to the next
  float scale;                               // of the scores
  int16_t lowest;                            // of the draws that stay
  float kept;                                // what these are multiplied by
};

}  // extern "C"

namespace {

// Tables of the distances' projections, (2 longest - 1, heads, size), in falling order of distance.
struct Positions {
  int64_t table = 0, size = 0, width = 0, turned_row = 0;
  std::vector<float> rows, turned;  // (heads, table, width) and (heads, size, turned_row)

  template <class T>
  Positions(const T* x, const Batch& batch, float factor) {
    if (!x) return;
    table = 2 * batch.longest - 1;
    size = batch.size, width = whole_vectors(size);
    turned_row = whole_vectors(table) + LANES;  // room behind the last vector that is read
    rows.resize(batch.heads * table * width);
    turned.resize(batch.heads * batch.size * turned_row);
#pragma omp parallel for schedule(static) if (batch.heads * table * size > SMALL)
    for (int64_t head = 0; head < batch.heads; ++head)
      for (int64_t t = 0; t < table; ++t)
        for (int64_t i = 0; i < size; ++i) {
          const float value = widen(x[(t * batch.heads + head) * size + i]) * factor;
          rows[(head * table + t) * width + i] = value;
          turned[(head * size + i) * turned_row + t] = value;
        }
  }

  bool given() const { return table > 0; }
  const float* row(int64_t head, int64_t t) const { return rows.data() + (head * table + t) * width; }
  const float* column(int64_t head, int64_t t) const { return turned.data() + head * size * turned_row + t; }
};

// Memory that a thread keeps from call to call, cut into parts of whole vectors.
class Scratch {
 public:
  explicit Scratch(int64_t numbers) {
    if (int64_t(memory.size()) < numbers) memory.resize(numbers);
  }
  float* cut(int64_t numbers) {
    float* part = memory.data() + used;
    used += numbers;
    return part;
  }

 private:
  static thread_local std::vector<float> memory;
  int64_t used = 0;
};

thread_local std::vector<float> Scratch::memory;

// One head of one row.
struct Head {
  const Batch& batch;
  const Positions &position_key, &position_query;
  const int64_t size, width;
  int64_t number, length, keys;  // which head, its tokens, and their number in whole vectors
  Row row;
  float *q, *k, *v, *outer, *k_turned, *v_turned;                   // tokens
  float *scores, *of_scores, *dropped, *skewed, *allowed, *factor;  // of some queries
  float *of_q, *of_k, *of_v;                                        // gradients

  Head(const Batch& batch, const Positions& position_key, const Positions& position_query)
      : batch(batch), position_key(position_key), position_query(position_query), size(batch.size),
        width(whole_vectors(batch.size)) {
    const int64_t most = std::max(whole_vectors(batch.longest), QUERIES), broad = std::max(most, width);
    const int64_t tokens = most * width, some = QUERIES * broad, band = FEW * (most + 2 * FEW);
    Scratch scratch(9 * tokens + 3 * some + band + 2 * most + BLOCK);
    for (float** each : {&q, &k, &v, &outer, &k_turned, &v_turned, &of_q, &of_k, &of_v}) *each = scratch.cut(tokens);
    for (float** each : {&scores, &of_scores, &dropped}) *each = scratch.cut(some);
    skewed = scratch.cut(band);
    allowed = scratch.cut(most);
    factor = scratch.cut(most + BLOCK);
  }

  void begin(const Row& of, int64_t head) {
    row = of, number = head, length = of.length, keys = whole_vectors(of.length);
    for (int64_t j = 0; j < keys; ++j)
      allowed[j] = j < length && (!batch.key_mask || batch.key_mask[row.start + j]) ? 1.0f : 0.0f;
  }

  // Read this head's part of some tokens of (tokens, heads, size), each number times a factor.
  template <class T>
  void read(const T* x, int64_t start, int64_t count, int64_t step, float times, float* rows) const {
    for (int64_t t = 0; t < count; ++t) {
      const T* from = x + (start + t) * step + number * size;
      float* to = rows + t * width;
      for (int64_t i = 0; i < size; ++i) to[i] = widen(from[i]) * times;
      for (int64_t i = 0; i < size; i += LINE / int64_t(sizeof(T))) __builtin_prefetch(from + size + i);  // next head
      for (int64_t i = size; i < width; ++i) to[i] = 0;
    }
  }

  // Write it, without gaps between tokens.
  template <class T>
  void write(const float* rows, int64_t start, int64_t count, float times, T* x) const {
    for (int64_t t = 0; t < count; ++t) {
      T* to = x + ((start + t) * batch.heads + number) * size;
      for (int64_t i = 0; i < size; ++i) store(to[i], rows[t * width + i] * times);
    }
  }

  // Transpose a head's tokens.
  void turn(float* rows, float* turned) const {
    std::fill(rows + length * width, rows + keys * width, 0.0f);
    for (int64_t t = 0; t < keys; t += 4)
      for (int64_t i = 0; i < width; i += 4) turn_four(rows + t * width + i, width, turned + i * keys + t, keys);
  }

  // Where the table has the distances of some queries (or keys) to all that they meet; then a score stands in row i,
  // column `few - 1 - i + j`, of their product.
  int64_t first_distance(int64_t last_query, int64_t first_key) const {
    return batch.longest - 1 - row.offset - last_query + first_key;
  }

  // Scores of `count` queries from `first` on.
  void score(int64_t first, int64_t count) {
    multiply({q + first * width, width, 1}, k_turned, keys, scores, keys, count, size, keys);
    if (position_key.given())
      for (int64_t sub = 0; sub < count; sub += FEW) {
        const int64_t few = std::min(FEW, count - sub), columns = whole_vectors(length + few - 1);
        const float* table = position_key.column(number, first_distance(first + sub + few - 1, 0));
        multiply({q + (first + sub) * width, width, 1}, table, position_key.turned_row, skewed, columns, few, size,
                 columns);
        for (int64_t i = 0; i < few; ++i) {
          const float* from = skewed + i * columns + few - 1 - i;
          float* to = scores + (sub + i) * keys;
          for (int64_t j = 0; j < length; ++j) to[j] += from[j];
        }
      }
    if (position_query.given())
      for (int64_t sub = 0; sub < length; sub += FEW) {
        const int64_t few = std::min(FEW, length - sub), columns = whole_vectors(count + few - 1);
        const float* table = position_query.column(number, first_distance(first + count - 1, sub));
        multiply({k + sub * width, width, 1}, table, position_query.turned_row, skewed, columns, few, size, columns);
        for (int64_t i = 0; i < count; ++i) {
          const float* from = skewed + count - 1 - i;
          float* to = scores + i * keys + sub;
          for (int64_t j = 0; j < few; ++j) to[j] += from[j * (columns + 1)];
        }
      }
  }

  // Make probabilities of a query's scores, which are told `highest` and the inverse of their sum, or are to find both.
  void soften(float* score, float& highest, float& inverse, bool known) const {
    for (int64_t j = 0; j < keys; ++j) score[j] = allowed[j] != 0 ? score[j] : LOWEST;
    if (!known) {
      float most = LOWEST;
#pragma omp simd reduction(max : most)
      for (int64_t j = 0; j < keys; ++j) most = score[j] > most ? score[j] : most;
      highest = most;
    }
    const float shift = highest;
    float total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t j = 0; j < keys; ++j) {
      score[j] = exponential(score[j] - shift);
      total += score[j];
    }
    if (!known) inverse = 1 / total;
    for (int64_t j = 0; j < keys; ++j) score[j] *= inverse;
  }

  // Where a query's probabilities are kept.
  int64_t kept(int64_t query) const { return row.kept + (number * row.queries + query) * length; }

  // What dropout multiplies a query's probabilities by.
  void draw_factors(int64_t query) {
    const Dropout dropout{batch.seeds[row.group], batch.lowest, batch.kept};
    const int64_t start = row.first + number * row.head_step + query * length;
    for (int64_t first = 0; first < length; first += BLOCK)
      dropout.factors(start + first, std::min(BLOCK, length - first), factor + first);
  }
};

}  // namespace
