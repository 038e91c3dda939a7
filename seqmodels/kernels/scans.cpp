// Recurrences that are linear in the state, on the CPU, forward and backward; the lanes of a vector are channels.
#include "vectors.h"

enum Mode : int64_t { GATED, DIAGONAL };

// What Python passes, in the order of seqmodels/kernels/scan.py. Numbers per step: GATED: x has the gate before the
// logistic function, then the candidate, `size` each, y has `size`; DIAGONAL: both have real and imaginary parts.
struct Scan {
  int64_t mode, batch, steps, size, threads;
  Parallel parallel;
  const real *x, *first, *factor;  // (batch, steps, 2 size), (batch, numbers of y), (2 size) of a DIAGONAL
  real *y;                         // (batch, steps, numbers)
  const real *dy;
  real *dx, *dfirst, *dfactor;     // the last one null if not needed
};

INLINE vec load(const real* from, int64_t count) {
  if (count == LANES) return load(from);
  vec value = {};
  std::memcpy(&value, from, count * sizeof(real));
  return value;
}

INLINE void store(real* to, vec value, int64_t count) {
  if (count == LANES) return store(to, value);
  std::memcpy(to, &value, count * sizeof(real));
}

struct Rows {
  const Scan& a;
  const int64_t d = a.size, width = a.mode == GATED ? d : 2 * d;
  explicit Rows(const Scan& scan) : a(scan) {}

  int64_t parts() const { return a.threads > 1 ? std::min(a.batch, 4 * a.threads) : 1; }

  template <class Work>
  void for_all_rows(Work work) const {  // work(part, row)
    run_parts(parts(), a.threads, a.parallel, [&](int64_t part) {
      for (int64_t row = part * a.batch / parts(); row < (part + 1) * a.batch / parts(); row++) work(part, row);
    });
  }

  template <class Work>
  void for_all_channels(Work work) const {  // work(first channel, number of channels)
    for (int64_t i = 0; i < d; i += LANES) work(i, std::min<int64_t>(LANES, d - i));
  }

  void forward() const {
    for_all_rows([&](int64_t, int64_t row) {
      const real *x = a.x + row * a.steps * 2 * d, *before = a.first + row * width;
      real* y = a.y + row * a.steps * width;
      for (int64_t t = 0; t < a.steps; t++, before = y, x += 2 * d, y += width)
        for_all_channels([&](int64_t i, int64_t count) {
          vec p = load(x + i, count), q = load(x + d + i, count), h = load(before + i, count);
          if (a.mode == GATED) return store(y + i, h + logistic(p) * (q - h), count);
          vec k = load(before + d + i, count), u = load(a.factor + i, count), v = load(a.factor + d + i, count);
          store(y + i, u * h - v * k + p, count);
          store(y + d + i, u * k + v * h + q, count);
        });
    });
  }

  void backward() const {
    Memory sums(parts() * 2 * d);
    for_all_rows([&](int64_t part, int64_t row) {
      real *carried = a.dfirst + row * width, *sum = sums + part * 2 * d;
      std::memset(carried, 0, width * sizeof(real));
      for (int64_t t = a.steps - 1; t >= 0; t--) {
        const int64_t at = row * a.steps + t;
        const real* before = t ? a.y + (at - 1) * width : a.first + row * width;
        for_all_channels([&](int64_t i, int64_t count) {
          const real *x = a.x + at * 2 * d + i, *dy = a.dy + at * width + i;
          real *dx = a.dx + at * 2 * d + i, *next = carried + i;
          vec g = load(dy, count) + load(next, count), h = load(before + i, count);
          if (a.mode == GATED) {
            vec z = logistic(load(x, count)), c = load(x + d, count);
            store(dx, g * (c - h) * z * (real(1) - z), count);
            store(dx + d, g * z, count);
            return store(next, g - g * z, count);
          }
          vec e = load(dy + d, count) + load(next + d, count), k = load(before + d + i, count);
          vec u = load(a.factor + i, count), v = load(a.factor + d + i, count);
          store(dx, g, count);
          store(dx + d, e, count);
          store(next, u * g + v * e, count);
          store(next + d, u * e - v * g, count);
          store(sum + i, load(sum + i, count) + g * h + e * k, count);
          store(sum + d + i, load(sum + d + i, count) + e * h - g * k, count);
        });
      }
    });
    if (!a.dfactor) return;
    std::memset(a.dfactor, 0, 2 * d * sizeof(real));
    for (int64_t part = 0; part < parts(); part++)
      for (int64_t i = 0; i < 2 * d; i++) a.dfactor[i] += sums[part * 2 * d + i];
  }
};

extern "C" void scan_forward(const Scan* a) { Rows(*a).forward(); }

extern "C" void scan_backward(const Scan* a) { Rows(*a).backward(); }
