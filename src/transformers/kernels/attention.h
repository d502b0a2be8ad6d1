// Attention within the rows of a packed batch, and its gradients. What belongs to one head of one row (head.h) is
// multiplied, made to probabilities and dropped while it is in the cache. The gradient has the probabilities, or
// nothing but what their softmax was divided by, and makes them again then (Dao et al., 2022, section 3.1).
//
// The plain forms are layers/attention.py and models/deberta_v2/disentangled_attention.py, whose relative positions are
// here `Positions`: with them a score is q_i k_j + q_i K(i - j) + k_j Q(i - j) (He et al., 2021, section 3.1).

#pragma once

#include <vector>

#include "head.h"

namespace {

constexpr int64_t CHUNK = 8;  // rows of the batch whose gradients of positions are summed one after the other
constexpr int64_t HEADS = 4;  // of a row that one thread computes one after the other

template <class Products, class T>
void attend(const Batch& batch, const T* query, const T* key, const T* value, const T* position_key,
            const T* position_query, T* context, float* sums, T* probabilities) {
  const Positions<Products> keys_of_distances(position_key, batch, true, false);
  const Positions<Products> queries_of_distances(position_query, batch, true, false);
#pragma omp parallel if (batch.rows * batch.heads * batch.longest * batch.size > SMALL)
  {
    Head<Products> head(batch, keys_of_distances, queries_of_distances);
#pragma omp for collapse(2) schedule(dynamic, HEADS)
    for (int64_t r = 0; r < batch.rows; ++r)
      for (int64_t h = 0; h < batch.heads; ++h) {
        head.begin(batch.row[r], h);
        head.read(query, head.row.query, head.row.queries, batch.query_step, head.q);
        head.read(key, head.row.start, head.length, batch.key_step, head.k);
        head.read(value, head.row.start, head.length, batch.value_step, head.v);
        head.k.turn();
        head.v.pair();
        for (int64_t first = 0; first < head.row.queries; first += QUERIES) {
          const int64_t count = std::min(QUERIES, head.row.queries - first);
          head.score(first, count);
          for (int64_t i = 0; i < count; ++i) {
            float* score = head.scores + i * head.keys;
            float sides[2];
            head.soften(score, sides[0], sides[1], false);
            if (sums) std::memcpy(sums + 2 * ((head.row.query + first + i) * batch.heads + h), sides, sizeof sides);
            if (probabilities) {
              T* place = probabilities + head.kept(first + i);
              for (int64_t j = 0; j < head.length; j += WIDTH) store(place, j, head.length, load(score + j));
            }
            head.draw_factors(first + i);
            for (int64_t j = 0; j < head.length; ++j) score[j] *= head.factor[j];
          }
          const auto left = head.products.left(head.scores, head.keys, count, head.length);
          head.products.multiply(left, head.v.right(0), head.dropped, head.width, count, head.length, head.width);
          head.write(head.dropped, head.row.query + first, count, 1, context);
        }
      }
  }
}

// Where gradients are put; null where one is not wanted. Those of positions are sums over the batch.
template <class T>
struct Gradients {
  T *query, *key, *value, *position_key, *position_query;
};

// What `attend` kept: one of both, the other is null.
template <class T>
struct Kept {
  const float* sums;       // the highest score and the inverse of the sum, of each query
  const T* probabilities;  // before dropout
};

// The gradients of one head of one row; those of positions are added to the tables of distances.
template <class Products, class T>
struct HeadGradients {
  Head<Products>& head;
  const Gradients<T>& wanted;

  void compute(const Kept<T>& kept, float* of_position_key, float* of_position_query) {
    const Products& products = head.products;
    const int64_t length = head.length, keys = head.keys, width = head.width;
    for (int64_t first = 0; first < head.row.queries; first += QUERIES) {
      const int64_t count = std::min(QUERIES, head.row.queries - first);
      score_gradients(first, count, kept);
      if (wanted.value) {
        const auto left = products.turned_left(head.dropped, keys, length, count);
        products.multiply(left, head.outer.right(first), head.of_v, width, length, count, width, first > 0);
      }
      if (wanted.query) {
        const auto left = products.left(head.of_scores, keys, count, length);
        products.multiply(left, head.k.right(0), head.of_q, width, count, length, width);
      }
      if (wanted.key) {
        const auto left = products.turned_left(head.of_scores, keys, length, count);
        products.multiply(left, head.q.right(first), head.of_k, width, length, count, width, first > 0);
      }
      if (head.position_key.given()) through_position_key(first, count, of_position_key);
      if (head.position_query.given()) through_position_query(first, count, of_position_query);
      if (wanted.query) head.write(head.of_q, head.row.query + first, count, head.batch.scale, wanted.query);
    }
    if (wanted.key) head.write(head.of_k, head.row.start, head.length, head.batch.scale, wanted.key);
    if (wanted.value) head.write(head.of_v, head.row.start, head.length, 1, wanted.value);
  }

  // The dropped probabilities once more, and the gradient of the scores.
  void score_gradients(int64_t first, int64_t count, const Kept<T>& kept) {
    const int64_t length = head.length, keys = head.keys;
    if (kept.sums) head.score(first, count);
    head.products.multiply(head.outer.left(first), head.v.turned(), head.of_scores, keys, count, head.size, keys);
    for (int64_t i = 0; i < count; ++i) {
      float *p = head.scores + i * keys, *gradient = head.of_scores + i * keys;
      float *dropped = head.dropped + i * keys, *factor = head.factor;
      if (kept.sums) {
        float sides[2];
        const int64_t query = head.row.query + first + i;
        std::memcpy(sides, kept.sums + 2 * (query * head.batch.heads + head.number), sizeof sides);
        head.soften(p, sides[0], sides[1], true);
      } else {
        const T* place = kept.probabilities + head.kept(first + i);
        for (int64_t j = 0; j < length; j += WIDTH) store(p + j, load(place, j, length));
      }
      head.draw_factors(first + i);
      for (int64_t j = 0; j < length; ++j) dropped[j] = p[j] * factor[j];
      std::fill(dropped + length, dropped + keys, 0.0f), std::fill(gradient + length, gradient + keys, 0.0f);
      const float along = total_of_products(dropped, gradient, keys);
      for (int64_t j = 0; j < length; ++j) gradient[j] = p[j] * (gradient[j] * factor[j] - along);
    }
  }

  void through_position_key(int64_t first, int64_t count, float* of_table) {
    if (!wanted.query && !of_table) return;
    for (int64_t sub = 0; sub < count; sub += Products::FEW) {
      const int64_t few = std::min(Products::FEW, count - sub), distances = head.length + few - 1;
      const int64_t columns = whole_vectors(distances), at = head.first_distance(first + sub + few - 1, 0);
      std::fill_n(head.skewed, few * columns, 0.0f);
      for (int64_t i = 0; i < few; ++i)
        std::copy_n(head.of_scores + (sub + i) * head.keys, head.length, head.skewed + i * columns + few - 1 - i);
      float* of_queries = wanted.query ? head.of_q + sub * head.width : nullptr;
      through_distances(few, distances, head.q.right(first + sub), of_queries,
                        head.position_key.right(head.number, at), of_table ? of_table + at * head.width : nullptr);
    }
  }

  void through_position_query(int64_t first, int64_t count, float* of_table) {
    if (!wanted.key && !of_table) return;
    for (int64_t sub = 0; sub < head.length; sub += Products::FEW) {
      const int64_t few = std::min(Products::FEW, head.length - sub), distances = count + few - 1;
      const int64_t columns = whole_vectors(distances), at = head.first_distance(first + count - 1, sub);
      std::fill_n(head.skewed, few * columns, 0.0f);
      for (int64_t i = 0; i < count; ++i)
        for (int64_t j = 0; j < few; ++j)
          head.skewed[j * columns + count - 1 - i + j] = head.of_scores[i * head.keys + sub + j];
      float* of_keys = wanted.key ? head.of_k + sub * head.width : nullptr;
      through_distances(few, distances, head.k.right(sub), of_keys,
                        head.position_query.right(head.number, at), of_table ? of_table + at * head.width : nullptr);
    }
  }

  // From the gradient of the products of a few tokens with distances, which is in `skewed`, to those of both sides.
  void through_distances(int64_t few, int64_t distances, typename Products::Right tokens, float* of_tokens,
                         typename Products::Right table, float* of_table) {
    const Products& products = head.products;
    const int64_t width = head.width, columns = whole_vectors(distances);
    if (of_tokens) {
      const auto left = products.left(head.skewed, columns, few, distances);
      products.multiply(left, table, of_tokens, width, few, distances, width, true);
    }
    if (of_table) {
      const auto left = products.turned_left(head.skewed, columns, distances, few);
      products.multiply(left, tokens, of_table, width, distances, few, width, true);
    }
  }
};

// Sums over the chunks of a batch, (chunks, heads, table, width), as (table, heads, size).
template <class T>
void write_table(const std::vector<float>& sums, const Batch& batch, int64_t table, int64_t part, int64_t width, T* x) {
  const int64_t chunks = int64_t(sums.size()) / (batch.heads * part);
#pragma omp parallel for schedule(static) if (int64_t(sums.size()) > SMALL)
  for (int64_t t = 0; t < table; ++t)
    for (int64_t head = 0; head < batch.heads; ++head)
      for (int64_t i = 0; i < batch.size; ++i) {
        float total = 0;
        for (int64_t chunk = 0; chunk < chunks; ++chunk)
          total += sums[(chunk * batch.heads + head) * part + t * width + i];
        store(x[(t * batch.heads + head) * batch.size + i], total * batch.scale);
      }
}

template <class Products, class T>
void attend_backward(const Batch& batch, const T* query, const T* key, const T* value, const T* position_key,
                     const T* position_query, const T* outer, const Kept<T>& kept, const Gradients<T>& wanted) {
  const Positions<Products> keys_of_distances(position_key, batch, kept.sums, true);
  const Positions<Products> queries_of_distances(position_query, batch, kept.sums, true);
  // Chunks do not depend on the number of threads, and so neither do the sums.
  const int64_t together = wanted.position_key || wanted.position_query ? CHUNK : 1;
  const int64_t chunks = (batch.rows + together - 1) / together;
  const int64_t table = 2 * batch.longest - 1, width = whole_vectors(batch.size), part = (table + LANES) * width;
  std::vector<float> of_position_key(wanted.position_key ? chunks * batch.heads * part : 0);
  std::vector<float> of_position_query(wanted.position_query ? chunks * batch.heads * part : 0);
#pragma omp parallel if (batch.rows * batch.heads * batch.longest * batch.size > SMALL)
  {
    Head<Products> head(batch, keys_of_distances, queries_of_distances);
    HeadGradients<Products, T> gradients{head, wanted};
#pragma omp for collapse(2) schedule(dynamic, together == 1 ? HEADS : 1)
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
      for (int64_t h = 0; h < batch.heads; ++h)
        for (int64_t r = chunk * together; r < std::min(batch.rows, (chunk + 1) * together); ++r) {
          head.begin(batch.row[r], h);
          head.read(query, head.row.query, head.row.queries, batch.query_step, head.q);
          head.read(key, head.row.start, head.length, batch.key_step, head.k);
          head.read(value, head.row.start, head.length, batch.value_step, head.v);
          head.read(outer, head.row.query, head.row.queries, batch.heads * batch.size, head.outer);
          if (kept.sums) head.k.turn();
          head.v.turn();
          head.q.pair(), head.k.pair(), head.outer.pair();
          const int64_t at = (chunk * batch.heads + h) * part;
          gradients.compute(kept, wanted.position_key ? of_position_key.data() + at : nullptr,
                            wanted.position_query ? of_position_query.data() + at : nullptr);
        }
  }
  if (wanted.position_key) write_table(of_position_key, batch, table, part, width, wanted.position_key);
  if (wanted.position_query) write_table(of_position_query, batch, table, part, width, wanted.position_query);
}

}  // namespace

// What Python calls, for one kind of products and one dtype.
#define EXPORT_ATTENTION(PRODUCTS, T, NAME)                                                                         \
  extern "C" void attend_##NAME(const Batch* batch, const T* query, const T* key, const T* value,                   \
                                const T* position_key, const T* position_query, T* context, float* sums,            \
                                T* probabilities) {                                                                 \
    attend<PRODUCTS>(*batch, query, key, value, position_key, position_query, context, sums, probabilities);        \
  }                                                                                                                 \
  extern "C" void attend_backward_##NAME(const Batch* batch, const T* query, const T* key, const T* value,          \
                                         const T* position_key, const T* position_query, const T* outer,            \
                                         const float* sums, const T* probabilities, T* of_query, T* of_key,         \
                                         T* of_value, T* of_position_key, T* of_position_query) {                   \
    attend_backward<PRODUCTS, T>(*batch, query, key, value, position_key, position_query, outer,                    \
                                 {sums, probabilities},                                                             \
                                 {of_query, of_key, of_value, of_position_key, of_position_query});                 \
  }
