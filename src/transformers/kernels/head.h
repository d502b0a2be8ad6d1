// One head of one row of a batch: what is read of it, its scores, its softmax, its dropout. Its products are `Floats`
// (products.h) or `Halves` (tiles.h); what is computed besides is in fp32, in rows of whole vectors.

#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "numbers.h"
#include "scratch.h"
#include "vectors.h"

namespace {

constexpr int64_t QUERIES = 96;     // whose scores are in the cache at once
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

// Tables of the distances' projections, (2 longest - 1, heads, size), in falling order of distance: each head's as
// tokens, `turned` where scores are computed and `paired` where gradients are. Products read a little behind the last.
template <class Products>
class Positions {
 public:
  template <class T>
  Positions(const T* x, const Batch& batch, bool turned, bool paired) {
    if (!x) return;
    const int64_t table = 2 * batch.longest - 1, most = table + 2 * Products::FEW;
    Scratch scratch(memory, batch.heads * Products::Tokens::bytes(most, batch.size));
    for (int64_t head = 0; head < batch.heads; ++head) heads.emplace_back(scratch, most, batch.size, true);
#pragma omp parallel for schedule(static) if (batch.heads * table * batch.size > SMALL)
    for (int64_t head = 0; head < batch.heads; ++head) {
      heads[head].read(x + head * batch.size, table, batch.heads * batch.size);
      if (turned) heads[head].turn();
      if (paired) heads[head].pair();
    }
  }

  bool given() const { return !heads.empty(); }

  // From distance `t` on: (distances, size) and (size, distances).
  typename Products::Right right(int64_t head, int64_t t) const { return heads[head].right(t); }
  typename Products::Right turned(int64_t head, int64_t t) const { return heads[head].turned().columns_from(t); }

 private:
  Memory memory;
  std::vector<typename Products::Tokens> heads;
};

template <class Products>
struct Head {
  typedef typename Products::Tokens Tokens;
  const Batch& batch;
  const Positions<Products>&position_key, &position_query;
  const int64_t size, width, most, broad;  // of a token, in whole vectors; the most tokens, and with their distances
  int64_t number, length, keys;            // which head, its tokens, and their number in whole vectors
  Row row;
  Scratch scratch;
  Products products;
  Tokens q, k, v, outer;
  float *scores, *of_scores, *dropped, *skewed, *allowed, *factor;  // of some queries
  float *of_q, *of_k, *of_v;                                        // gradients

  Head(const Batch& batch, const Positions<Products>& position_key, const Positions<Products>& position_query)
      : batch(batch), position_key(position_key), position_query(position_query), size(batch.size),
        width(whole_vectors(size)), most(std::max(whole_vectors(batch.longest), QUERIES)),
        broad(std::max(most + 2 * Products::FEW, width)), scratch(own_memory(), bytes()),
        products(scratch, QUERIES, broad), q(scratch, most, size), k(scratch, most, size), v(scratch, most, size),
        outer(scratch, most, size) {
    for (float** each : {&scores, &of_scores, &dropped}) *each = scratch.cut<float>(QUERIES * broad);
    for (float** each : {&of_q, &of_k, &of_v}) *each = scratch.cut<float>(most * width);
    skewed = scratch.cut<float>(Products::FEW * broad);
    allowed = scratch.cut<float>(most);
    factor = scratch.cut<float>(most);
  }

  int64_t bytes() const {
    const int64_t some = Scratch::bytes<float>(QUERIES * broad), tokens = Scratch::bytes<float>(most * width);
    const int64_t rest = Scratch::bytes<float>(Products::FEW * broad) + 2 * Scratch::bytes<float>(most);
    return Products::bytes(QUERIES, broad) + 4 * Tokens::bytes(most, size) + 3 * some + 3 * tokens + rest;
  }

  static Memory& own_memory() {  // which a thread keeps from call to call
    static thread_local Memory memory;
    return memory;
  }

  void begin(const Row& of, int64_t head) {
    row = of, number = head, length = of.length, keys = whole_vectors(of.length);
    for (int64_t j = 0; j < keys; ++j)
      allowed[j] = j < length && (!batch.key_mask || batch.key_mask[row.start + j]) ? 1.0f : 0.0f;
  }

  // Read this head's part of some tokens of (tokens, heads, size).
  template <class T>
  void read(const T* x, int64_t start, int64_t count, int64_t step, Tokens& tokens) const {
    tokens.read(x + start * step + number * size, count, step);
  }

  // Write rows of fp32, each number times a factor, without gaps between tokens.
  template <class T>
  void write(const float* rows, int64_t start, int64_t count, float times, T* x) const {
    for (int64_t t = 0; t < count; ++t) {
      T* to = x + ((start + t) * batch.heads + number) * size;
      for (int64_t i = 0; i < size; i += WIDTH) store(to, i, size, load(rows + t * width + i) * times);
      for (int64_t i = 0; i < size; i += LINE / int64_t(sizeof(T))) __builtin_prefetch(to + size + i, 1);  // next head
    }
  }

  // Where the table has the distances of some queries (or keys) to all that they meet; then a score stands in row i,
  // column `few - 1 - i + j`, of their product.
  int64_t first_distance(int64_t last_query, int64_t first_key) const {
    return batch.longest - 1 - row.offset - last_query + first_key;
  }

  // Scores of `count` queries from `first` on.
  void score(int64_t first, int64_t count) {
    products.multiply(q.left(first), k.turned(), scores, keys, count, size, keys);
    if (position_key.given())
      for (int64_t sub = 0; sub < count; sub += Products::FEW) {
        const int64_t few = std::min(Products::FEW, count - sub), columns = whole_vectors(length + few - 1);
        const auto table = position_key.turned(number, first_distance(first + sub + few - 1, 0));
        products.multiply(q.left(first + sub), table, skewed, columns, few, size, columns);
        for (int64_t i = 0; i < few; ++i) {
          const float* from = skewed + i * columns + few - 1 - i;
          float* to = scores + (sub + i) * keys;
          for (int64_t j = 0; j < length; ++j) to[j] += from[j];
        }
      }
    if (position_query.given())
      for (int64_t sub = 0; sub < length; sub += Products::FEW) {
        const int64_t few = std::min(Products::FEW, length - sub), columns = whole_vectors(count + few - 1);
        const auto table = position_query.turned(number, first_distance(first + count - 1, sub));
        products.multiply(k.left(sub), table, skewed, columns, few, size, columns);
        for (int64_t i = 0; i < count; ++i) {
          const float* from = skewed + count - 1 - i;
          float* to = scores + i * keys + sub;
          for (int64_t j = 0; j < few; ++j) to[j] += from[j * (columns + 1)];
        }
      }
  }

  // Make probabilities of a query's scores, which are told `highest` and the inverse of their sum, or are to find both.
  void soften(float* score, float& highest, float& inverse, bool known) const {
    const float scale = batch.scale;
    for (int64_t j = 0; j < keys; ++j) score[j] = allowed[j] != 0 ? score[j] * scale : LOWEST;
    if (!known) highest = ::highest(score, keys);
    const float shift = highest;
    for (int64_t j = 0; j < keys; ++j) score[j] = exponential(score[j] - shift);
    if (!known) inverse = 1 / total(score, keys);
    const float times = inverse;
    for (int64_t j = 0; j < keys; ++j) score[j] *= times;
  }

  // Where a query's probabilities are kept.
  int64_t kept(int64_t query) const { return row.kept + (number * row.queries + query) * length; }

  // What dropout multiplies a query's probabilities by.
  void draw_factors(int64_t query) {
    const Dropout dropout{batch.seeds[row.group], batch.lowest, batch.kept};
    dropout.factors(row.first + number * row.head_step + query * length, length, factor);
  }
};

}  // namespace
