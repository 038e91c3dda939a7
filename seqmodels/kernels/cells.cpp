// Recurrent layers on the CPU, forward and backward: simple RNN, GRU and LSTM, with layer normalisation, recurrent
// dropout and zoneout, as in seqmodels/backbones/cells.py.
//
// A block of sequences runs through all steps by itself, without a barrier; threads share the blocks. Each step is one
// pass: products with the input and with the state, then the gates while they lie in the nearest cache. The backward pass
// keeps the gradients of a few steps, from which it adds to those of the weights in one product.
#include "vectors.h"

enum Kind : int64_t { TANH, RELU, GRU, LSTM };

// What Python passes, in the order of seqmodels/kernels/recurrent.py. Arrays are contiguous, weights as torch has them;
// a gradient that nobody needs, and what a kind does not have, is null.
struct Recurrent {
  int64_t kind, normalised, batch, steps, inputs, size, rows, threads;
  double zoneout;  // share of the previous state that every unit keeps; with `keep`, unused
  Parallel parallel;
  const real *x;                                             // (batch, steps, inputs)
  const real *hidden, *cell, *mask;                          // (batch, size): first state; factors of recurrent dropout
  const real *keep;                                          // (1 or 2, batch, steps, size): 1 keeps hidden, cell state
  const real *weight_x, *weight_h, *bias_x, *bias_h;         // (gates size, inputs), (gates size, size), (gates size)
  const real *gain, *offset, *last_gain, *last_offset;       // of the gates; of the GRU's candidate or the LSTM's cell
  real *y, *last_hidden, *last_cell;                         // (batch, steps, size), (batch, size)
  real *const *saved;                                        // of each piece of blocks, see saved_size; null: none
  int64_t piece;                                             // blocks in a piece
  const real *dy, *dlast_hidden, *dlast_cell;                // null: zeros
  real *dx, *dhidden, *dcell, *dmask, *dkeep;                // the last two always null
  real *dweight_x, *dweight_h, *dbias_x, *dbias_h;           // all or none
  real *dgain, *doffset, *dlast_gain, *dlast_offset;
};

// Sizes of one kind of layer. Gates in torch's order; a GRU has four blocks of sums, as the candidate's product with the
// state is apart from that with the input: reset, update, candidate of the state, candidate of the input.
struct Sizes {
  int64_t gates, sums, activations, normalised, norms, units, saved;
  explicit Sizes(const Recurrent& a) {
    bool gru = a.kind == GRU, lstm = a.kind == LSTM;
    gates = gru ? 3 : lstm ? 4 : 1;
    sums = gru ? 4 : gates;
    activations = lstm ? 5 : sums;                            // the LSTM's cell state too
    normalised = gru ? 2 : gates;                             // gates that GateNorm or LayerNorm normalises
    norms = !a.normalised ? 0 : gru ? 3 : lstm ? 5 : 1;
    units = (activations + norms) * a.size;
    saved = units + norms;                                    // per step and row: with the reciprocal deviations
  }
};

constexpr real EPSILON = 1e-5;
constexpr int64_t CHUNK = 1 << 17;  // bytes of the gradients of gates that are kept before they go into the weights'

template <int ROWS>
struct Recurrence {
  const Recurrent& a;
  const Sizes s{a};
  const int64_t n = a.size * ROWS;  // numbers of one gate in a block
  const int64_t blocks = (a.batch + ROWS - 1) / ROWS;
  const int64_t chunk = std::clamp<int64_t>(CHUNK / (s.sums * n * sizeof(real)), 1, a.steps);
  const Memory bias{s.sums * a.size};

  explicit Recurrence(const Recurrent& layer) : a(layer) {
    for (int64_t i = 0; i < s.gates * a.size; i++) {
      int64_t of_x = a.kind == GRU && i >= 2 * a.size ? i + a.size : i;
      if (a.bias_x) bias[of_x] += a.bias_x[i];
      if (a.bias_h) bias[i] += a.bias_h[i];
    }
  }

  int64_t parts() const { return a.threads > 1 ? std::min(blocks, 4 * a.threads) : 1; }  // some more than threads

  template <class Work>
  void for_all_blocks(Work work) const {  // work(part, block, its first row, its number of rows)
    run_parts(parts(), a.threads, a.parallel, [&](int64_t part) {
      int64_t first = part * blocks / parts(), end = (part + 1) * blocks / parts();
      work(part, first, end);
    });
  }

  int rows_of(int64_t block) const { return std::min<int64_t>(ROWS, a.batch - block * ROWS); }

  real* saved_of(int64_t block) const {
    return a.saved ? a.saved[block / a.piece] + block % a.piece * a.steps * s.saved * ROWS : nullptr;
  }

  // A state (batch, size) as a block; zeros where there is none.
  void state_block(const real* state, int64_t block, real* to, bool zeros) const {
    if (state) to_block<ROWS>(state + block * n, a.size, rows_of(block), a.size, to, zeros);
    else std::memset(to, 0, n * sizeof(real));
  }

  // Some steps (batch, steps, width), from `first` on, as a block.
  void steps_block(const real* values, int64_t width, int64_t block, int64_t first, int64_t count, real* to,
                   bool zeros) const {
    int64_t stride = a.steps * width;
    to_block<ROWS>(values + block * ROWS * stride + first * width, stride, rows_of(block), count * width, to, zeros);
  }

  // ---- forward

  void forward() const {
    for_all_blocks([&](int64_t, int64_t first, int64_t end) {
      Memory x(chunk * a.inputs * ROWS), hidden((chunk + 1) * n), keep(2 * chunk * n), cell(n), mask(n), masked(n);
      Memory scratch(s.saved * ROWS);
      for (int64_t block = first; block < end; block++) {
        real* saved = saved_of(block);
        state_block(a.hidden, block, hidden, false);
        state_block(a.cell, block, cell, false);
        if (a.mask) state_block(a.mask, block, mask, false);
        for (int64_t t0 = 0; t0 < a.steps; t0 += chunk) {
          int64_t count = std::min(chunk, a.steps - t0);
          steps_block(a.x, a.inputs, block, t0, count, x, false);
          keep_block(block, t0, count, keep);
          for (int64_t t = 0; t < count; t++) {
            real *before = hidden + t * n, *values = saved ? saved + (t0 + t) * s.saved * ROWS : (real*)scratch;
            const real* factor = before;
            if (a.mask) {
              for (int64_t i = 0; i < n; i += LANES) store(masked + i, load(before + i) * load(mask + i));
              factor = masked;
            }
            sums_of_gates(x + t * a.inputs * ROWS, factor, values);
            step(values, before, cell, keep + t * n, keep + (chunk + t) * n, before + n);
          }
          from_block<ROWS>(hidden + n, count * a.size, a.y + (block * ROWS * a.steps + t0) * a.size, a.steps * a.size,
                           rows_of(block));
          std::memcpy(hidden, hidden + count * n, n * sizeof(real));
        }
        from_block<ROWS>(hidden, a.size, a.last_hidden + block * ROWS * a.size, a.size, rows_of(block));
        if (a.kind == LSTM) from_block<ROWS>(cell, a.size, a.last_cell + block * ROWS * a.size, a.size, rows_of(block));
      }
    });
  }

  // The shares of the previous hidden and cell states that units keep, for some steps: [2][chunk][n].
  void keep_block(int64_t block, int64_t first, int64_t count, real* keep) const {
    if (!a.keep) return;
    for (int state = 0; state < (a.kind == LSTM ? 2 : 1); state++)
      steps_block(a.keep + state * a.batch * a.steps * a.size, a.size, block, first, count, keep + state * chunk * n,
                  false);
  }

  bool zoneout() const { return a.keep || a.zoneout != 0; }
  INLINE vec kept(const real* keep, int64_t i) const { return a.keep ? load(keep + i) : all(a.zoneout); }

  INLINE vec mixed(const real* keep, int64_t i, vec before, vec after) const {
    if (!zoneout()) return after;
    vec share = kept(keep, i);
    return share * before + (real(1) - share) * after;
  }

  void sums_of_gates(const real* x, const real* hidden, real* sums) const {
    const Term of_x{x, a.inputs, a.weight_x, 1, a.inputs}, of_h{hidden, a.size, a.weight_h, 1, a.size};
    if (a.kind != GRU) return product<ROWS, BIAS, 2>(sums, s.sums * a.size, bias, {of_x, of_h});
    const int64_t h = a.size;
    product<ROWS, BIAS, 2>(sums, 2 * h, bias, {of_x, of_h});
    product<ROWS, BIAS, 1>(sums + 2 * n, h, bias + 2 * h, {{hidden, h, a.weight_h + 2 * h * h, 1, h}});
    product<ROWS, BIAS, 1>(sums + 3 * n, h, bias + 3 * h, {{x, a.inputs, a.weight_x + 2 * h * a.inputs, 1, a.inputs}});
  }

  // Turn the sums of all gates into activations, and those into the next state.
  void step(real* values, const real* before, real* cell, const real* keep, const real* keep_cell, real* after) const {
    real *normalised = values + s.activations * n, *deviations = values + s.units * ROWS;
    if (a.normalised)
      for (int64_t gate = 0; gate < s.normalised; gate++)
        normalise(values + gate * n, normalised + gate * n, deviations + gate * ROWS, a.gain + gate * a.size,
                  a.offset + gate * a.size);
    real *last = normalised + s.normalised * n, *last_deviation = deviations + s.normalised * ROWS;
    switch (a.kind) {
      case TANH: return step_simple<TANH>(values, before, keep, after);
      case RELU: return step_simple<RELU>(values, before, keep, after);
      case GRU: return step_gru(values, before, keep, last, last_deviation, after);
      default: return step_lstm(values, before, cell, keep, keep_cell, last, last_deviation, after);
    }
  }

  template <Kind KIND>
  void step_simple(real* values, const real* before, const real* keep, real* after) const {
    for (int64_t i = 0; i < n; i += LANES) {
      vec sum = load(values + i), h = KIND == TANH ? hyperbolic_tangent(sum) : sum < vec{} ? vec{} : sum;
      store(values + i, h);
      store(after + i, mixed(keep, i, load(before + i), h));
    }
  }

  void step_gru(real* values, const real* before, const real* keep, real* normalised, real* deviation,
                real* after) const {
    real *reset = values, *update = values + n, *of_h = values + 2 * n, *candidate = values + 3 * n;
    for (int64_t i = 0; i < n; i += LANES) {
      vec r = logistic(load(reset + i));
      store(reset + i, r);
      store(update + i, logistic(load(update + i)));
      store(candidate + i, load(candidate + i) + r * load(of_h + i));
    }
    if (a.normalised) normalise(candidate, normalised, deviation, a.last_gain, a.last_offset);
    for (int64_t i = 0; i < n; i += LANES) {
      vec c = hyperbolic_tangent(load(candidate + i)), h = load(before + i);
      store(candidate + i, c);
      store(after + i, mixed(keep, i, h, c + load(update + i) * (h - c)));
    }
  }

  void step_lstm(real* values, const real* before, real* cell, const real* keep, const real* keep_cell,
                 real* normalised, real* deviation, real* after) const {
    real *input = values, *forget = values + n, *fresh = values + 2 * n, *output = values + 3 * n;
    real *kept_cell = values + 4 * n;
    for (int64_t i = 0; i < n; i += LANES) {
      vec in = logistic(load(input + i)), f = logistic(load(forget + i)), g = hyperbolic_tangent(load(fresh + i));
      vec old = load(cell + i), c = f * old + in * g;
      store(input + i, in);
      store(forget + i, f);
      store(fresh + i, g);
      store(output + i, logistic(load(output + i)));
      store(after + i, c);  // until it becomes the hidden state
      store(cell + i, mixed(keep_cell, i, old, c));
      store(kept_cell + i, load(cell + i));
    }
    if (a.normalised) normalise(after, normalised, deviation, a.last_gain, a.last_offset);
    for (int64_t i = 0; i < n; i += LANES)
      store(after + i, mixed(keep, i, load(before + i), load(output + i) * hyperbolic_tangent(load(after + i))));
  }

  // Layer normalisation of one gate, in place; keeps the normalised values and the reciprocal deviation of each row.
  void normalise(real* values, real* normalised, real* deviation, const real* gain, const real* offset) const {
    for (int v = 0; v < ROWS; v += LANES) {
      vec mean = {}, variance = {};
      for (int64_t i = v; i < n; i += ROWS) mean += load(values + i);
      mean /= real(a.size);
      for (int64_t i = v; i < n; i += ROWS) {
        vec centred = load(values + i) - mean;
        variance += centred * centred;
      }
      vec scale = variance / real(a.size) + EPSILON;
      for (int lane = 0; lane < LANES; lane++) scale[lane] = 1 / std::sqrt(scale[lane]);
      store(deviation + v, scale);
      for (int64_t unit = 0, i = v; i < n; unit++, i += ROWS) {
        vec value = (load(values + i) - mean) * scale;
        store(normalised + i, value);
        store(values + i, value * gain[unit] + offset[unit]);
      }
    }
  }

  // ---- backward

  // Gradients of the parameters, of one part of the blocks; those of layer normalisation still as blocks.
  struct Gradients {
    Memory x, h, bias, gain, offset;
    Gradients(const Recurrent& a, const Sizes& s)
        : x(s.gates * a.size * a.inputs), h(s.gates * a.size * a.size), bias(s.sums * a.size),
          gain(s.norms * a.size * ROWS), offset(s.norms * a.size * ROWS) {}
  };

  void backward() const {
    std::vector<std::unique_ptr<Gradients>> all(parts());
    for_all_blocks([&](int64_t part, int64_t first, int64_t end) {
      all[part] = std::make_unique<Gradients>(a, s);
      Backward work(*this, *all[part]);
      for (int64_t block = first; block < end; block++) work.run(block);
    });
    if (a.dweight_x) collect(all);
  }

  // Add up the parts, always in the same order.
  void collect(const std::vector<std::unique_ptr<Gradients>>& all) const {
    const int64_t h = a.size, input = s.gates * h * a.inputs, recurrent = s.gates * h * h;
    std::memset(a.dweight_x, 0, input * sizeof(real));
    std::memset(a.dweight_h, 0, recurrent * sizeof(real));
    Memory bias(s.sums * h), gain(s.norms * h), offset(s.norms * h);
    for (auto& part : all) {
      for (int64_t i = 0; i < input; i++) a.dweight_x[i] += part->x[i];
      for (int64_t i = 0; i < recurrent; i++) a.dweight_h[i] += part->h[i];
      for (int64_t i = 0; i < s.sums * h; i++) bias[i] += part->bias[i];
      add_sums<ROWS>({part->gain, 0}, s.norms * h, 1, gain);
      add_sums<ROWS>({part->offset, 0}, s.norms * h, 1, offset);
    }
    for (int64_t i = 0; i < s.gates * h; i++) {
      if (a.dbias_x) a.dbias_x[i] = bias[a.kind == GRU && i >= 2 * h ? i + h : i];
      if (a.dbias_h) a.dbias_h[i] = bias[i];
    }
    if (!a.normalised) return;
    std::memcpy(a.dgain, gain, s.normalised * h * sizeof(real));
    std::memcpy(a.doffset, offset, s.normalised * h * sizeof(real));
    if (s.norms == s.normalised) return;
    std::memcpy(a.dlast_gain, gain + s.normalised * h, h * sizeof(real));
    std::memcpy(a.dlast_offset, offset + s.normalised * h, h * sizeof(real));
  }

  struct Backward {
    const Recurrence& r;
    Gradients& sum;
    const Recurrent& a = r.a;
    const Sizes& s = r.s;
    const int64_t n = r.n, chunk = r.chunk;
    Memory x{chunk * a.inputs * ROWS}, hidden{chunk * n}, first{n}, cell{n}, keep{2 * chunk * n}, mask{n};
    Memory dy{chunk * n}, dx{chunk * a.inputs * ROWS}, dsums{chunk * s.sums * n}, dh{n}, dc{n}, part{n};

    Backward(const Recurrence& recurrence, Gradients& gradients) : r(recurrence), sum(gradients) {}

    void run(int64_t block) {
      const real* saved = r.saved_of(block);
      r.state_block(a.hidden, block, first, false);
      r.state_block(a.cell, block, cell, false);
      if (a.mask) r.state_block(a.mask, block, mask, false);
      r.state_block(a.dlast_hidden, block, dh, true);
      r.state_block(a.dlast_cell, block, dc, true);
      for (int64_t end = a.steps; end > 0; end -= chunk) steps(block, saved, std::max<int64_t>(0, end - chunk), end);
      int rows = r.rows_of(block);
      if (a.dhidden) from_block<ROWS>(dh, a.size, a.dhidden + block * ROWS * a.size, a.size, rows);
      if (a.dcell) from_block<ROWS>(dc, a.size, a.dcell + block * ROWS * a.size, a.size, rows);
    }

    // Steps t0 ... t1 - 1, from the last to the first.
    void steps(int64_t block, const real* saved, int64_t t0, int64_t t1) {
      const int64_t count = t1 - t0, h = a.size;
      int rows = r.rows_of(block);
      states_before(block, t0, count);
      r.keep_block(block, t0, count, keep);
      if (a.dy) r.steps_block(a.dy, h, block, t0, count, dy, true);
      for (int64_t t = count - 1; t >= 0; t--) {
        const real* values = saved + (t0 + t) * s.saved * ROWS;
        const real* old_cell = t0 + t ? values - s.saved * ROWS + 4 * n : (real*)cell;
        if (a.dy)
          for (int64_t i = 0; i < n; i += LANES) store(dh + i, load(dh + i) + load(dy + t * n + i));
        real* gates = dsums + t * s.sums * n;
        step(values, hidden + t * n, old_cell, keep + t * n, keep + (chunk + t) * n, gates);
        to_state(gates);
        if (a.dx) to_input(gates, dx + t * a.inputs * ROWS);
      }
      if (a.dx)
        from_block<ROWS>(dx, count * a.inputs, a.dx + (block * ROWS * a.steps + t0) * a.inputs, a.steps * a.inputs,
                         rows);
      if (a.dweight_x) to_weights(block, t0, count);
    }

    // The hidden states before the steps, from the outputs.
    void states_before(int64_t block, int64_t t0, int64_t count) {
      int64_t own = t0 == 0;
      if (own) std::memcpy(hidden, first, n * sizeof(real));
      r.steps_block(a.y, a.size, block, t0 - 1 + own, count - own, hidden + own * n, false);
    }

    void step(const real* values, const real* before, const real* old_cell, const real* keep, const real* keep_cell,
              real* gates) {
      switch (a.kind) {
        case TANH: simple<TANH>(values, keep, gates); break;
        case RELU: simple<RELU>(values, keep, gates); break;
        case GRU: gru(values, before, keep, gates); break;
        default: lstm(values, old_cell, keep, keep_cell, gates);
      }
      if (a.normalised)
        for (int64_t gate = 0; gate < s.normalised; gate++) denormalise(values, gate, gates + gate * n, gain(gate));
    }

    const real* gain(int64_t norm) const { return norm < s.normalised ? a.gain + norm * a.size : a.last_gain; }

    // Gradient of a new hidden state; dh becomes that of the state before, as far as units keep it.
    INLINE vec of_new(const real* keep, int64_t i) {
      vec d = load(dh + i);
      if (!r.zoneout()) {
        store(dh + i, vec{});
        return d;
      }
      vec share = r.kept(keep, i);
      store(dh + i, share * d);
      return d - share * d;
    }

    template <Kind KIND>
    void simple(const real* values, const real* keep, real* gates) {
      for (int64_t i = 0; i < n; i += LANES) {
        vec d = of_new(keep, i), h = load(values + i);
        store(gates + i, KIND == TANH ? d * (real(1) - h * h) : h <= vec{} ? vec{} : d);
      }
    }

    void gru(const real* values, const real* before, const real* keep, real* gates) {
      const real *reset = values, *update = values + n, *of_h = values + 2 * n, *candidate = values + 3 * n;
      real* dcandidate = gates + 3 * n;
      for (int64_t i = 0; i < n; i += LANES) {
        vec d = of_new(keep, i), z = load(update + i), c = load(candidate + i);
        store(gates + n + i, d * (load(before + i) - c) * z * (real(1) - z));
        store(dcandidate + i, (d - d * z) * (real(1) - c * c));
        store(dh + i, load(dh + i) + d * z);
      }
      if (a.normalised) denormalise(values, s.normalised, dcandidate, a.last_gain);
      for (int64_t i = 0; i < n; i += LANES) {
        vec d = load(dcandidate + i), rate = load(reset + i);
        store(gates + i, d * load(of_h + i) * rate * (real(1) - rate));
        store(gates + 2 * n + i, d * rate);
      }
    }

    void lstm(const real* values, const real* old_cell, const real* keep, const real* keep_cell, real* gates) {
      const real *input = values, *forget = values + n, *fresh = values + 2 * n, *output = values + 3 * n;
      const real* normalised = values + (s.activations + s.normalised) * n;
      for (int64_t i = 0; i < n; i += LANES) {
        vec c = load(forget + i) * load(old_cell + i) + load(input + i) * load(fresh + i);
        if (a.normalised) {
          vec scaled = load(normalised + i);
          c = scaled * a.last_gain[i / ROWS] + a.last_offset[i / ROWS];
        }
        vec d = of_new(keep, i), o = load(output + i), t = hyperbolic_tangent(c);
        store(gates + 3 * n + i, d * t * o * (real(1) - o));
        store(part + i, d * o * (real(1) - t * t));
      }
      if (a.normalised) denormalise(values, s.normalised, part, a.last_gain);
      for (int64_t i = 0; i < n; i += LANES) {
        vec d = load(dc + i), share = r.zoneout() ? r.kept(keep_cell, i) : vec{};
        vec in = load(input + i), f = load(forget + i), g = load(fresh + i), e = d - share * d + load(part + i);
        store(gates + i, e * g * in * (real(1) - in));
        store(gates + n + i, e * load(old_cell + i) * f * (real(1) - f));
        store(gates + 2 * n + i, e * in * (real(1) - g * g));
        store(dc + i, share * d + e * f);
      }
    }

    // Gradient of layer normalisation, in place: of its output -> of its input.
    void denormalise(const real* values, int64_t norm, real* d, const real* gain) {
      const real *normalised = values + (s.activations + norm) * n, *deviation = values + s.units * ROWS + norm * ROWS;
      real *dgain = sum.gain + norm * n, *doffset = sum.offset + norm * n;
      for (int v = 0; v < ROWS; v += LANES) {
        vec mean = {}, slope = {};
        for (int64_t unit = 0, i = v; i < n; unit++, i += ROWS) {
          vec value = load(d + i), scaled = load(normalised + i);
          store(dgain + i, load(dgain + i) + value * scaled);
          store(doffset + i, load(doffset + i) + value);
          value *= gain[unit];
          mean += value;
          slope += value * scaled;
          store(d + i, value);
        }
        mean /= real(a.size);
        slope /= real(a.size);
        for (int64_t i = v; i < n; i += ROWS)
          store(d + i, load(deviation + v) * (load(d + i) - mean - load(normalised + i) * slope));
      }
    }

    // dh += gradient of the state before through the recurrent product.
    void to_state(const real* gates) {
      const Term term{gates, s.gates * a.size, a.weight_h, a.size, 1};
      if (!a.mask) return product<ROWS, KEEP, 1>(dh, a.size, nullptr, {term});
      product<ROWS, ZERO, 1>(part, a.size, nullptr, {term});
      for (int64_t i = 0; i < n; i += LANES) store(dh + i, load(dh + i) + load(mask + i) * load(part + i));
    }

    void to_input(const real* gates, real* dx) {
      const int64_t h = a.size, width = a.inputs;
      if (a.kind != GRU) return product<ROWS, ZERO, 1>(dx, width, nullptr, {{gates, s.gates * h, a.weight_x, width, 1}});
      product<ROWS, ZERO, 2>(dx, width, nullptr, {{gates, 2 * h, a.weight_x, width, 1},
                                                  {gates + 3 * n, h, a.weight_x + 2 * h * width, width, 1}});
    }

    void to_weights(int64_t block, int64_t t0, int64_t count) {
      const int64_t h = a.size, stride = s.sums * n;
      r.steps_block(a.x, a.inputs, block, t0, count, x, false);
      if (a.mask)
        for (int64_t t = 0; t < count; t++)
          for (int64_t i = 0; i < n; i += LANES) store(hidden + t * n + i, load(hidden + t * n + i) * load(mask + i));
      const Steps gates{dsums, stride}, inputs{x, a.inputs * ROWS}, states{hidden, n};
      add_outer<ROWS>(gates, s.gates * h, states, h, count, sum.h, h);
      add_outer<ROWS>(gates, (a.kind == GRU ? 2 : s.gates) * h, inputs, a.inputs, count, sum.x, a.inputs);
      if (a.kind == GRU) add_outer<ROWS>({dsums + 3 * n, stride}, h, inputs, a.inputs, count, sum.x + 2 * h * a.inputs,
                                      a.inputs);
      add_sums<ROWS>(gates, s.sums * h, count, sum.bias);
    }
  };
};

// Numbers that the forward pass saves of a block for the backward pass.
extern "C" int64_t saved_size(const Recurrent* a) { return a->rows * a->steps * Sizes(*a).saved; }

extern "C" void recur_forward(const Recurrent* a) {
  if (a->rows == WIDE) Recurrence<WIDE>(*a).forward();
  else Recurrence<LANES>(*a).forward();
}

extern "C" void recur_backward(const Recurrent* a) {
  if (a->rows == WIDE) Recurrence<WIDE>(*a).backward();
  else Recurrence<LANES>(*a).backward();
}
