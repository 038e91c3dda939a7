// Vectors of the widest registers that the compiler may use, and functions on blocks of numbers.
//
// A block holds ROWS sequences side by side, as [number][row]: the lanes of a vector are sequences. So no width needs
// padding, a weight is read once for a whole block, in torch's own layout, and sums over units need no shuffling. What a
// row computes does not depend on the rows beside it, nor on their number.
//
// REAL is float or double. Compiled without -ffast-math, which would change the rounding of the whole process.
#pragma once
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>
#include <vector>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

typedef REAL real;
#if defined(__AVX512F__)
constexpr int BYTES = 64;
#elif defined(__AVX__)
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;
#endif
constexpr int LANES = BYTES / sizeof(real);
typedef real vec __attribute__((vector_size(BYTES), aligned(sizeof(real)), may_alias));
typedef std::conditional_t<sizeof(real) == 4, int32_t, int64_t> whole;
typedef whole integers __attribute__((vector_size(BYTES), aligned(sizeof(real)), may_alias));
#define INLINE inline __attribute__((always_inline))

// Rows of a block: two vectors where there are enough registers for twice the sums, and enough sequences.
constexpr int WIDE = BYTES == 64 && sizeof(real) == 4 ? 2 * LANES : LANES;

INLINE vec load(const real* from) { return *(const vec*)from; }
INLINE void store(real* to, vec value) { *(vec*)to = value; }
INLINE vec all(real value) { return value - vec{}; }

// Comparisons are written so that a NaN passes through.
INLINE vec clamp(vec x, real bound) {
  x = x > all(bound) ? all(bound) : x;
  return x < all(-bound) ? all(-bound) : x;
}

// exp, relative error 2e-7 in float. Cephes: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2].
INLINE vec exponential(vec x) {
  if constexpr (sizeof(real) == 8) {
    for (int i = 0; i < LANES; i++) x[i] = std::exp(x[i]);
    return x;
  } else {
    const real round = 12582912;  // 1.5 * 2^23: its sum with a small number holds the nearest integer in the last bits
    x = clamp(x, 87);
    vec shifted = x * real(1.44269504088896341) + round, n = shifted - round;
    vec r = x - n * real(0.693359375) - n * real(-2.12194440e-4);
    vec p = r * real(1.9875691500e-4) + real(1.3981999507e-3);
    p = p * r + real(8.3334519073e-3);
    p = p * r + real(4.1665795894e-2);
    p = p * r + real(1.6666665459e-1);
    p = p * r + real(5.0000001201e-1);
    p = p * (r * r) + r + real(1);
    return (vec)((integers)p + ((integers)shifted << 23));
  }
}

INLINE vec logistic(vec x) { return real(1) / (real(1) + exponential(-x)); }

// tanh, relative error 5e-7 in float: the rational function of Eigen (generic_fast_tanh_float).
INLINE vec hyperbolic_tangent(vec x) {
  if constexpr (sizeof(real) == 8) {
    for (int i = 0; i < LANES; i++) x[i] = std::tanh(x[i]);
    return x;
  } else {
    x = clamp(x, real(7.90531110763549805));
    vec s = x * x;
    vec p = s * real(-2.76076847742355e-16) + real(2.00018790482477e-13);
    p = p * s + real(-8.60467152213735e-11);
    p = p * s + real(5.12229709037114e-08);
    p = p * s + real(1.48572235717979e-05);
    p = p * s + real(6.37261928875436e-04);
    p = p * s + real(4.89352455891786e-03);
    vec q = s * real(1.19825839466702e-06) + real(1.18534705686654e-04);
    q = q * s + real(2.26843463243900e-03);
    q = q * s + real(4.89352518554385e-03);
    return x * p / q;
  }
}

// The numbers of two vectors, chosen by their positions in both.
template <int... Position>
INLINE vec choose(vec a, vec b) {
#ifdef __clang__
  return __builtin_shufflevector(a, b, Position...);
#else
  return __builtin_shuffle(a, b, integers{Position...});
#endif
}

// a where bit S of the lane is 0, with b's numbers of the lanes S before in between; and the numbers left over.
template <int S, int... I>
INLINE void exchange(vec& a, vec& b, std::integer_sequence<int, I...>) {
  vec first = choose<((I & S) ? LANES + I - S : I)...>(a, b);
  b = choose<((I & S) ? LANES + I : I + S)...>(a, b);
  a = first;
}

typedef std::make_integer_sequence<int, LANES> Lanes;

// Transpose LANES vectors in place.
template <int S = LANES / 2>
INLINE void transpose(vec* rows) {
  for (int i = 0; i < LANES; i++)
    if (!(i & S)) exchange<S>(rows[i], rows[i + S], Lanes());
  if constexpr (S > 1) transpose<S / 2>(rows);
}

// Sum of the lanes of N vectors each, for N a power of two; overwrites the vectors.
template <int N, int S = LANES / 2>
INLINE void sum_lanes(vec* values, real* sums) {
  if constexpr (N > 1 && S > 0) {  // the sums of two vectors in one: bit S of a lane tells them apart
    for (int i = 0; i < N / 2; i++) {
      exchange<S>(values[i], values[i + N / 2], Lanes());
      values[i] += values[i + N / 2];
    }
    sum_lanes<N / 2, S / 2>(values, sums);
  } else {
    constexpr int width = S ? 2 * S : 1;  // lanes that still belong to one sum
    real lanes[N * LANES];
    std::memcpy(lanes, values, sizeof lanes);
    for (int lane = 0; lane < LANES; lane++)
      for (int i = 0; i < N; i++) {
        real& sum = sums[lane / width * N + i];
        sum = (lane % width ? sum : 0) + lanes[i * LANES + lane];
      }
  }
}

// Rows of n numbers, `stride` apart -> a block [n][ROWS]. Rows that are missing become zeros or copies of the first.
template <int ROWS>
void to_block(const real* from, int64_t stride, int rows, int64_t n, real* block, bool zeros = false) {
  for (int first = 0; first < ROWS; first += LANES) {
    const real* row[LANES];
    for (int i = 0; i < LANES; i++) row[i] = from + (first + i < rows ? (first + i) * stride : 0);
    int present = zeros ? std::clamp(rows - first, 0, LANES) : LANES;
    int64_t c = 0;
    for (; c + LANES <= n; c += LANES) {
      vec values[LANES];
      for (int i = 0; i < LANES; i++) values[i] = i < present ? load(row[i] + c) : vec{};
      transpose(values);
      for (int i = 0; i < LANES; i++) store(block + (c + i) * ROWS + first, values[i]);
    }
    for (; c < n; c++)
      for (int i = 0; i < LANES; i++) block[c * ROWS + first + i] = i < present ? row[i][c] : 0;
  }
}

// A block [n][ROWS] -> rows of n numbers, `stride` apart.
template <int ROWS>
void from_block(const real* block, int64_t n, real* to, int64_t stride, int rows) {
  for (int first = 0; first < rows; first += LANES) {
    int present = std::min(rows - first, LANES);
    real* row = to + first * stride;
    int64_t c = 0;
    for (; c + LANES <= n; c += LANES) {
      vec values[LANES];
      for (int i = 0; i < LANES; i++) values[i] = load(block + (c + i) * ROWS + first);
      transpose(values);
      for (int i = 0; i < present; i++) store(row + i * stride + c, values[i]);
    }
    for (; c < n; c++)
      for (int i = 0; i < present; i++) row[i * stride + c] = block[c * ROWS + first + i];
  }
}

// One sum of products: out[j] = sum over p of left[p] * weight[p * step + j * gap], all of them blocks of rows.
struct Term {
  const real* left;
  int64_t terms;
  const real* weight;
  int64_t step, gap;
};

template <int ROWS, int N>
INLINE void add_products(vec (&sums)[N][ROWS / LANES], const Term& term, int64_t column) {
  constexpr int V = ROWS / LANES;
  const real *left = term.left, *weight = term.weight + column * term.gap;
  for (int64_t p = term.terms; p > 0; p--, left += ROWS, weight += term.step) {
    vec values[V];
    for (int v = 0; v < V; v++) values[v] = load(left + v * LANES);
#pragma GCC unroll 16
    for (int j = 0; j < N; j++) {
      real factor = weight[j * term.gap];
      for (int v = 0; v < V; v++) sums[j][v] += values[v] * factor;
    }
  }
}

// What the sums begin with: zeros, one number per column, or what the output holds.
enum Start { ZERO, BIAS, KEEP };

template <int ROWS, int N, Start START, int TERMS>
INLINE void product_tile(real* out, int64_t column, const real* bias, const Term* terms) {
  constexpr int V = ROWS / LANES;
  vec sums[N][V];
  for (int j = 0; j < N; j++)
    for (int v = 0; v < V; v++) {
      if constexpr (START == ZERO) sums[j][v] = vec{};
      if constexpr (START == BIAS) sums[j][v] = all(bias[column + j]);
      if constexpr (START == KEEP) sums[j][v] = load(out + (column + j) * ROWS + v * LANES);
    }
  for (int t = 0; t < TERMS; t++) add_products<ROWS, N>(sums, terms[t], column);
  for (int j = 0; j < N; j++)
    for (int v = 0; v < V; v++) store(out + (column + j) * ROWS + v * LANES, sums[j][v]);
}

// out[columns][ROWS] = its start + the sums of all terms. Twelve columns at a time: 12 or 24 sums stay in registers.
template <int ROWS, Start START, int TERMS>
void product(real* out, int64_t columns, const real* bias, const Term (&terms)[TERMS]) {
  int64_t j = 0;
  for (; j + 12 <= columns; j += 12) product_tile<ROWS, 12, START, TERMS>(out, j, bias, terms);
  for (; j + 8 <= columns; j += 8) product_tile<ROWS, 8, START, TERMS>(out, j, bias, terms);
  for (; j + 4 <= columns; j += 4) product_tile<ROWS, 4, START, TERMS>(out, j, bias, terms);
  for (; j < columns; j++) product_tile<ROWS, 1, START, TERMS>(out, j, bias, terms);
}

// Blocks of consecutive steps, `stride` numbers apart.
struct Steps {
  const real* block;
  int64_t stride;
};

template <int ROWS, int C, int K>
INLINE void outer_tile(const Steps& left, const Steps& right, int64_t c, int64_t k, int64_t steps, real* sums,
                       int64_t stride) {
  vec total[C * K] = {};
  for (int64_t t = 0; t < steps; t++)
    for (int v = 0; v < ROWS; v += LANES) {
      const real *a = left.block + t * left.stride + c * ROWS + v, *b = right.block + t * right.stride + k * ROWS + v;
      vec factors[K];
      for (int j = 0; j < K; j++) factors[j] = load(b + j * ROWS);
      for (int i = 0; i < C; i++)
        for (int j = 0; j < K; j++) total[i * K + j] += load(a + i * ROWS) * factors[j];
    }
  real found[std::max(C * K, LANES)];
  sum_lanes<C * K>(total, found);
  for (int i = 0; i < C; i++)
    for (int j = 0; j < K; j++) sums[(c + i) * stride + k + j] += found[i * K + j];
}

template <int ROWS, int C>
void outer_rows(const Steps& left, const Steps& right, int64_t c, int64_t width, int64_t steps, real* sums,
                int64_t stride) {
  constexpr int wide = LANES >= 16 ? 4 : 2;  // as many sums as fit into the registers
  int64_t k = 0;
  if constexpr (C == 4)
    for (; k + wide <= width; k += wide) outer_tile<ROWS, C, wide>(left, right, c, k, steps, sums, stride);
  for (; k < width; k++) outer_tile<ROWS, C, 1>(left, right, c, k, steps, sums, stride);
}

// sums[c * stride + k] += left[t][c][row] * right[t][k][row], summed over steps and rows: a gradient of weights.
template <int ROWS>
void add_outer(const Steps& left, int64_t columns, const Steps& right, int64_t width, int64_t steps, real* sums,
               int64_t stride) {
  int64_t c = 0;
  if (width < 4)
    for (; c + 8 <= columns; c += 8) outer_rows<ROWS, 8>(left, right, c, width, steps, sums, stride);
  for (; c + 4 <= columns; c += 4) outer_rows<ROWS, 4>(left, right, c, width, steps, sums, stride);
  for (; c < columns; c++) outer_rows<ROWS, 1>(left, right, c, width, steps, sums, stride);
}

// sums[c] += left[t][c][row], summed over steps and rows: a gradient of biases.
template <int ROWS>
void add_sums(const Steps& left, int64_t columns, int64_t steps, real* sums) {
  for (int64_t c = 0; c < columns; c++) {
    vec total[1] = {};
    for (int64_t t = 0; t < steps; t++)
      for (int v = 0; v < ROWS; v += LANES) total[0] += load(left.block + t * left.stride + c * ROWS + v);
    real found[LANES];
    sum_lanes<1>(total, found);
    sums[c] += found[0];
  }
}

// Zeroed memory that begins with a cache line, so that no vector of a block crosses two.
class Memory {
 public:
  explicit Memory(int64_t n) : data((real*)std::aligned_alloc(64, (n * sizeof(real) + 63) / 64 * 64), std::free) {
    std::memset(data.get(), 0, n * sizeof(real));
  }
  operator real*() const { return data.get(); }

 private:
  std::unique_ptr<real, void (*)(void*)> data;
};

// GOMP_parallel of the OpenMP library that torch uses, so that both share the same threads.
typedef void (*Parallel)(void (*)(void*), void*, unsigned, unsigned);

// Call work(part) for all parts, on so many threads; each part runs once, on any of them.
template <class Work>
void run_parts(int64_t parts, int64_t threads, Parallel parallel, Work work) {
  struct Team {
    Work& work;
    int64_t parts;
    std::atomic<int64_t> next;
    unsigned rounding;
    void run() {
#ifdef __SSE__
      unsigned own = _mm_getcsr();
      _mm_setcsr(rounding);  // denormals as the calling thread has them
#endif
      for (int64_t part; (part = next++) < parts;) work(part);
#ifdef __SSE__
      _mm_setcsr(own);
#endif
    }
  } team{work, parts, {0}, 0};
#ifdef __SSE__
  team.rounding = _mm_getcsr();
#endif
  threads = std::min(threads, parts);
  if (threads <= 1) return team.run();
  if (parallel) return parallel([](void* data) { ((Team*)data)->run(); }, &team, threads, 0);
  std::vector<std::thread> others;
  for (int64_t i = 1; i < threads; i++) others.emplace_back([&team] { team.run(); });
  team.run();
  for (auto& other : others) other.join();
}
