// Causal dilated convolutions on the CPU, forward and backward, on blocks [step][channel][row] of sequences.
//
// A step is one product: the inputs at all taps lie at fixed distances in a block, so nothing is copied or transposed
// between layers. Bias and activation follow while the step lies in the nearest cache.
#include "vectors.h"

enum Activation : int64_t { NONE, RELU, GATE };  // GATE: tanh of the first half of the outputs times logistic of the other

// What Python passes, in the order of seqmodels/kernels/convolution.py. The last output belongs to the last input; inputs
// before the first count as zeros.
struct Convolution {
  int64_t blocks, rows, inputs, outputs, kernel, dilation, steps_in, steps_out, activation, threads;
  Parallel parallel;
  const real *x;               // (blocks, steps_in, inputs, rows)
  const real *weight, *bias;   // (outputs, kernel inputs), the oldest tap first; (outputs,)
  real *y;                     // (blocks, steps_out, outputs or half of them, rows)
  real *gates;                 // (blocks, steps_out, outputs, rows): tanh and logistic of a GATE; null: not kept
  const real *dy;
  real *dx, *dweight, *dbias;  // null: not needed
};

constexpr int64_t GROUP = 3;  // taps in one product

template <int ROWS>
struct Layer {
  const Convolution& a;
  const int64_t in = a.inputs * ROWS, out = a.outputs * ROWS, n = a.activation == GATE ? out / 2 : out;
  const int64_t first = a.steps_in - a.steps_out;  // the input at the first output
  explicit Layer(const Convolution& convolution) : a(convolution) {}

  int64_t parts() const { return a.threads > 1 ? std::min(a.blocks, 4 * a.threads) : 1; }

  template <class Work>
  void for_all_blocks(Work work) const {
    run_parts(parts(), a.threads, a.parallel, [&](int64_t part) {
      work(part, part * a.blocks / parts(), (part + 1) * a.blocks / parts());
    });
  }

  int64_t lag(int64_t tap) const { return (a.kernel - 1 - tap) * a.dilation; }

  void forward() const {
    for_all_blocks([&](int64_t, int64_t begin, int64_t end) {
      Memory scratch(out);
      for (int64_t block = begin; block < end; block++)
        for (int64_t t = 0; t < a.steps_out; t++) {
          real *y = a.y + (block * a.steps_out + t) * n, *sums = y;
          if (a.activation == GATE) sums = a.gates ? a.gates + (block * a.steps_out + t) * out : (real*)scratch;
          add_taps(a.x + block * a.steps_in * in, first + t, sums);
          activate(sums, y);
        }
    });
  }

  // sums = bias + weights times the inputs at all taps of the step.
  void add_taps(const real* x, int64_t step, real* sums) const {
    for (int64_t start = 0; start < a.kernel; start += GROUP) {
      Term terms[GROUP] = {};
      for (int64_t i = 0; i < std::min(GROUP, a.kernel - start); i++) {
        int64_t tap = a.kernel - 1 - start - i, at = step - lag(tap);  // the newest first: others may lie before the start
        if (at >= 0) terms[i] = {x + at * in, a.inputs, a.weight + tap * a.inputs, 1, a.kernel * a.inputs};
      }
      if (start == 0) product<ROWS, BIAS, GROUP>(sums, a.outputs, a.bias, terms);
      else product<ROWS, KEEP, GROUP>(sums, a.outputs, nullptr, terms);
    }
  }

  void activate(real* sums, real* y) const {
    if (a.activation == RELU)
      for (int64_t i = 0; i < n; i += LANES) {
        vec value = load(sums + i);
        store(y + i, value < vec{} ? vec{} : value);
      }
    if (a.activation == GATE)
      for (int64_t i = 0; i < n; i += LANES) {
        vec signal = hyperbolic_tangent(load(sums + i)), gate = logistic(load(sums + n + i));
        store(sums + i, signal);
        store(sums + n + i, gate);
        store(y + i, signal * gate);
      }
  }

  void backward() const {
    const int64_t width = a.kernel * a.inputs;
    std::vector<std::unique_ptr<Memory>> weights(parts()), biases(parts());
    for_all_blocks([&](int64_t part, int64_t begin, int64_t end) {
      weights[part] = std::make_unique<Memory>(a.outputs * width);
      biases[part] = std::make_unique<Memory>(a.outputs);
      Memory scratch(a.activation == NONE ? 1 : a.steps_out * out);
      for (int64_t block = begin; block < end; block++) {
        const real* dsums = of_sums(block, scratch);
        if (a.dx)
          for (int64_t t = 0; t < a.steps_in; t++) to_input(dsums, t, a.dx + (block * a.steps_in + t) * in);
        if (a.dweight) to_weights(dsums, a.x + block * a.steps_in * in, *weights[part], *biases[part]);
      }
    });
    if (!a.dweight) return;
    std::memset(a.dweight, 0, a.outputs * width * sizeof(real));
    std::memset(a.dbias, 0, a.outputs * sizeof(real));
    for (int64_t part = 0; part < parts(); part++) {  // always in the same order
      for (int64_t i = 0; i < a.outputs * width; i++) a.dweight[i] += (*weights[part])[i];
      for (int64_t i = 0; i < a.outputs; i++) a.dbias[i] += (*biases[part])[i];
    }
  }

  // Gradient of the sums before the activation, of all steps of a block.
  const real* of_sums(int64_t block, real* scratch) const {
    const real *dy = a.dy + block * a.steps_out * n, *y = a.y + block * a.steps_out * n;
    if (a.activation == NONE) return dy;
    if (a.activation == RELU)
      for (int64_t i = 0; i < a.steps_out * n; i += LANES)
        store(scratch + i, load(y + i) <= vec{} ? vec{} : load(dy + i));
    if (a.activation == GATE)
      for (int64_t t = 0; t < a.steps_out; t++) {
        const real *d = dy + t * n, *signal = a.gates + (block * a.steps_out + t) * out, *gate = signal + n;
        real* to = scratch + t * out;
        for (int64_t i = 0; i < n; i += LANES) {
          vec s = load(signal + i), g = load(gate + i), value = load(d + i);
          store(to + i, value * g * (real(1) - s * s));
          store(to + n + i, value * s * g * (real(1) - g));
        }
      }
    return scratch;
  }

  void to_input(const real* dsums, int64_t step, real* dx) const {
    for (int64_t start = 0; start < a.kernel; start += GROUP) {
      Term terms[GROUP] = {};
      for (int64_t i = 0; i < std::min(GROUP, a.kernel - start); i++) {
        int64_t tap = start + i, at = step + lag(tap) - first;
        if (at >= 0 && at < a.steps_out) terms[i] = {dsums + at * out, a.outputs, a.weight + tap * a.inputs,
                                                     a.kernel * a.inputs, 1};
      }
      if (start == 0) product<ROWS, ZERO, GROUP>(dx, a.inputs, nullptr, terms);
      else product<ROWS, KEEP, GROUP>(dx, a.inputs, nullptr, terms);
    }
  }

  void to_weights(const real* dsums, const real* x, real* dweight, real* dbias) const {
    const int64_t chunk = std::max<int64_t>(1, (1 << 17) / (out * sizeof(real))), width = a.kernel * a.inputs;
    for (int64_t t0 = 0; t0 < a.steps_out; t0 += chunk) {  // a few steps, which stay in a near cache
      int64_t t1 = std::min(t0 + chunk, a.steps_out);
      for (int64_t tap = 0; tap < a.kernel; tap++) {
        int64_t begin = std::max(t0, lag(tap) - first);
        if (begin < t1)
          add_outer<ROWS>({dsums + begin * out, out}, a.outputs, {x + (first + begin - lag(tap)) * in, in}, a.inputs,
                          t1 - begin, dweight + tap * a.inputs, width);
      }
      add_sums<ROWS>({dsums + t0 * out, out}, a.outputs, t1 - t0, dbias);
    }
  }
};

extern "C" void convolve_forward(const Convolution* a) {
  if (a->rows == WIDE) Layer<WIDE>(*a).forward();
  else Layer<LANES>(*a).forward();
}

extern "C" void convolve_backward(const Convolution* a) {
  if (a->rows == WIDE) Layer<WIDE>(*a).backward();
  else Layer<LANES>(*a).backward();
}

// Rows of the blocks of so many sequences, shared by so many threads.
extern "C" int64_t rows_of_block(int64_t batch, int64_t threads) {
  return batch > (WIDE - LANES) * threads ? WIDE : LANES;
}

// Sequences (batch, n) -> blocks (blocks, n, rows), or back. Rows that are missing in the last block: see to_block.
extern "C" void change_layout(real* sequences, real* blocks, int64_t batch, int64_t n, int64_t rows, int64_t back,
                              int64_t zeros) {
  for (int64_t first = 0; first < batch; first += rows) {
    int present = std::min(rows, batch - first);
    real *row = sequences + first * n, *block = blocks + first * n;
    if (back && rows == WIDE) from_block<WIDE>(block, n, row, n, present);
    else if (back) from_block<LANES>(block, n, row, n, present);
    else if (rows == WIDE) to_block<WIDE>(row, n, present, n, block, zeros);
    else to_block<LANES>(row, n, present, n, block, zeros);
  }
}
