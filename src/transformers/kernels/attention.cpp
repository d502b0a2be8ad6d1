// Attention within the rows of a packed batch, and its gradients. What belongs to one head of one row is multiplied,
// made to probabilities and dropped while it is in the cache. The gradient has the probabilities, or nothing but what
// their softmax was divided by, and makes them again then (Dao et al., 2022, section 3.1).
//
// The plain forms are layers/attention.py and models/deberta_v2/disentangled_attention.py, whose relative positions are
// here `Positions`: with them a score is q_i k_j + q_i K(i - j) + k_j Q(i - j) (He et al., 2021, section 3.1).
//
// A head's tokens are rows of whole vectors, with zeros behind; "turned" is their transpose.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "numbers.h"
#include "products.h"

namespace {

constexpr int64_t QUERIES = 64;  // whose scores are in the cache at once
constexpr int64_t FEW = 16;      // queries, or keys, that are multiplied by their distances at once
constexpr int64_t CHUNK = 8;     // rows of the batch whose gradients of positions are summed one after the other
constexpr int64_t HEADS = 4;     // of a row that one thread computes one after the other
constexpr int64_t SMALL = 1 << 16;  // work for which threads are not worth their start
constexpr int64_t LINE = 64;  // bytes that come into the cache at once
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
  float *q, *k, *v, *outer, *k_turned, *v_turned;                    // tokens
  float *scores, *of_scores, *dropped, *skewed, *allowed, *factor;  // of some queries
  float *of_q, *of_k, *of_v;                                         // gradients

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
      for (int64_t i = 0; i < size; i += LINE / int64_t(sizeof(T))) __builtin_prefetch(from + size + i);  // the next head's
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
        multiply({q + (first + sub) * width, width, 1}, table, position_key.turned_row, skewed, columns,
                 few, size, columns);
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
        multiply({k + sub * width, width, 1}, table, position_query.turned_row, skewed, columns, few,
                 size, columns);
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

template <class T>
void attend(const Batch& batch, const T* query, const T* key, const T* value, const T* position_key,
            const T* position_query, T* context, float* sums, T* probabilities) {
  const Positions keys_of_distances(position_key, batch, 1), queries_of_distances(position_query, batch, batch.scale);
#pragma omp parallel if (batch.rows * batch.heads * batch.longest * batch.size > SMALL)
  {
    Head head(batch, keys_of_distances, queries_of_distances);
#pragma omp for collapse(2) schedule(dynamic, HEADS)
    for (int64_t r = 0; r < batch.rows; ++r)
      for (int64_t h = 0; h < batch.heads; ++h) {
        head.begin(batch.row[r], h);
        head.read(query, head.row.query, head.row.queries, batch.query_step, batch.scale, head.q);
        head.read(key, head.row.start, head.length, batch.key_step, 1, head.k);
        head.read(value, head.row.start, head.length, batch.value_step, 1, head.v);
        head.turn(head.k, head.k_turned);
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
              for (int64_t j = 0; j < head.length; ++j) store(place[j], score[j]);
            }
            head.draw_factors(first + i);
            for (int64_t j = 0; j < head.length; ++j) score[j] *= head.factor[j];
          }
          multiply({head.scores, head.keys, 1}, head.v, head.width, head.dropped, head.width, count,
                   head.length, head.width);
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
template <class T>
struct HeadGradients {
  Head& head;
  const Gradients<T>& wanted;

  void compute(const Kept<T>& kept, float* of_position_key, float* of_position_query) {
    for (int64_t first = 0; first < head.row.queries; first += QUERIES) {
      const int64_t count = std::min(QUERIES, head.row.queries - first), keys = head.keys, width = head.width;
      score_gradients(first, count, kept);
      const float *q = head.q + first * width, *outer = head.outer + first * width;
      if (wanted.value)
        multiply({head.dropped, 1, keys}, outer, width, head.of_v, width, head.length, count, width, first > 0);
      if (wanted.query)
        multiply({head.of_scores, keys, 1}, head.k, width, head.of_q, width, count, head.length, width);
      if (wanted.key)
        multiply({head.of_scores, 1, keys}, q, width, head.of_k, width, head.length, count, width, first > 0);
      if (head.position_key.given()) through_position_key(first, count, of_position_key);
      if (head.position_query.given()) through_position_query(first, count, of_position_query);
      if (wanted.query) head.write(head.of_q, head.row.query + first, count, head.batch.scale, wanted.query);
    }
    if (wanted.key) head.write(head.of_k, head.row.start, head.length, 1, wanted.key);
    if (wanted.value) head.write(head.of_v, head.row.start, head.length, 1, wanted.value);
  }

  // The dropped probabilities once more, and the gradient of the scores.
  void score_gradients(int64_t first, int64_t count, const Kept<T>& kept) {
    const int64_t length = head.length, keys = head.keys;
    if (kept.sums) head.score(first, count);
    multiply({head.outer + first * head.width, head.width, 1}, head.v_turned, keys, head.of_scores,
             keys, count, head.size, keys);
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
        for (int64_t j = 0; j < length; ++j) p[j] = widen(place[j]);
      }
      head.draw_factors(first + i);
      float along = 0;
#pragma omp simd reduction(+ : along)
      for (int64_t j = 0; j < length; ++j) {
        dropped[j] = p[j] * factor[j];
        along += dropped[j] * gradient[j];
      }
      for (int64_t j = 0; j < length; ++j) gradient[j] = p[j] * (gradient[j] * factor[j] - along);
    }
  }

  void through_position_key(int64_t first, int64_t count, float* of_table) {
    if (!wanted.query && !of_table) return;
    const int64_t width = head.width;
    for (int64_t sub = 0; sub < count; sub += FEW) {
      const int64_t few = std::min(FEW, count - sub), distances = head.length + few - 1;
      const int64_t columns = whole_vectors(distances), at = head.first_distance(first + sub + few - 1, 0);
      std::fill_n(head.skewed, few * columns, 0.0f);
      for (int64_t i = 0; i < few; ++i)
        std::copy_n(head.of_scores + (sub + i) * head.keys, head.length,
                    head.skewed + i * columns + few - 1 - i);
      if (wanted.query)
        multiply({head.skewed, columns, 1}, head.position_key.row(head.number, at), width,
                 head.of_q + sub * width, width, few, distances, width, true);
      if (of_table)
        multiply({head.skewed, 1, columns}, head.q + (first + sub) * width, width, of_table + at * width,
                 width, distances, few, width, true);
    }
  }

  void through_position_query(int64_t first, int64_t count, float* of_table) {
    if (!wanted.key && !of_table) return;
    const int64_t width = head.width;
    for (int64_t sub = 0; sub < head.length; sub += FEW) {
      const int64_t few = std::min(FEW, head.length - sub), distances = count + few - 1;
      const int64_t columns = whole_vectors(distances), at = head.first_distance(first + count - 1, sub);
      std::fill_n(head.skewed, few * columns, 0.0f);
      for (int64_t i = 0; i < count; ++i)
        for (int64_t j = 0; j < few; ++j)
          head.skewed[j * columns + count - 1 - i + j] = head.of_scores[i * head.keys + sub + j];
      if (wanted.key)
        multiply({head.skewed, columns, 1}, head.position_query.row(head.number, at), width,
                 head.of_k + sub * width, width, few, distances, width, true);
      if (of_table)
        multiply({head.skewed, 1, columns}, head.k + sub * width, width, of_table + at * width, width,
                 distances, few, width, true);
    }
  }
};

// Sums over the chunks of a batch, (chunks, heads, table, width), as (table, heads, size).
template <class T>
void write_table(const std::vector<float>& sums, const Batch& batch, int64_t table, int64_t width, float times, T* x) {
  const int64_t chunks = int64_t(sums.size()) / (batch.heads * table * width);
#pragma omp parallel for schedule(static) if (int64_t(sums.size()) > SMALL)
  for (int64_t t = 0; t < table; ++t)
    for (int64_t head = 0; head < batch.heads; ++head)
      for (int64_t i = 0; i < batch.size; ++i) {
        float total = 0;
        for (int64_t chunk = 0; chunk < chunks; ++chunk)
          total += sums[((chunk * batch.heads + head) * table + t) * width + i];
        store(x[(t * batch.heads + head) * batch.size + i], total * times);
      }
}

template <class T>
void attend_backward(const Batch& batch, const T* query, const T* key, const T* value, const T* position_key,
                     const T* position_query, const T* outer, const Kept<T>& kept, const Gradients<T>& wanted) {
  const Positions keys_of_distances(position_key, batch, 1), queries_of_distances(position_query, batch, batch.scale);
  // Chunks do not depend on the number of threads, and so neither do the sums.
  const int64_t together = wanted.position_key || wanted.position_query ? CHUNK : 1;
  const int64_t chunks = (batch.rows + together - 1) / together;
  const int64_t table = 2 * batch.longest - 1, width = whole_vectors(batch.size), part = table * width;
  std::vector<float> of_position_key(wanted.position_key ? chunks * batch.heads * part : 0);
  std::vector<float> of_position_query(wanted.position_query ? chunks * batch.heads * part : 0);
#pragma omp parallel if (batch.rows * batch.heads * batch.longest * batch.size > SMALL)
  {
    Head head(batch, keys_of_distances, queries_of_distances);
    HeadGradients<T> gradients{head, wanted};
#pragma omp for collapse(2) schedule(dynamic, together == 1 ? HEADS : 1)
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
      for (int64_t h = 0; h < batch.heads; ++h)
        for (int64_t r = chunk * together; r < std::min(batch.rows, (chunk + 1) * together); ++r) {
          head.begin(batch.row[r], h);
          head.read(query, head.row.query, head.row.queries, batch.query_step, batch.scale, head.q);
          head.read(key, head.row.start, head.length, batch.key_step, 1, head.k);
          head.read(value, head.row.start, head.length, batch.value_step, 1, head.v);
          head.read(outer, head.row.query, head.row.queries, batch.heads * batch.size, 1, head.outer);
          if (kept.sums) head.turn(head.k, head.k_turned);
          head.turn(head.v, head.v_turned);
          const int64_t at = (chunk * batch.heads + h) * part;
          gradients.compute(kept, wanted.position_key ? of_position_key.data() + at : nullptr,
                            wanted.position_query ? of_position_query.data() + at : nullptr);
        }
  }
  if (wanted.position_key) write_table(of_position_key, batch, table, width, 1, wanted.position_key);
  if (wanted.position_query) write_table(of_position_query, batch, table, width, batch.scale, wanted.position_query);
}

}  // namespace

#define EXPORT(T, NAME)                                                                                             \
  extern "C" void attend_##NAME(const Batch* batch, const T* query, const T* key, const T* value,                   \
                                const T* position_key, const T* position_query, T* context, float* sums,            \
                                T* probabilities) {                                                                 \
    attend(*batch, query, key, value, position_key, position_query, context, sums, probabilities);                  \
  }                                                                                                                 \
  extern "C" void attend_backward_##NAME(const Batch* batch, const T* query, const T* key, const T* value,          \
                                         const T* position_key, const T* position_query, const T* outer,            \
                                         const float* sums, const T* probabilities, T* of_query, T* of_key,         \
                                         T* of_value, T* of_position_key, T* of_position_query) {                   \
    attend_backward<T>(*batch, query, key, value, position_key, position_query, outer, {sums, probabilities},       \
                       {of_query, of_key, of_value, of_position_key, of_position_query});                           \
  }

EXPORT(float, float32)
EXPORT(BFloat16, bfloat16)
