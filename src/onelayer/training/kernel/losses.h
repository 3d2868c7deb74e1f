/* The losses, of one model on one register of rows: lane i is row i, and the scores of class k are
 * at scores + k * stride. Lanes are not mixed, so that the cost of a class does not depend on K.
 * Included once for each instruction set by tiles.h. Equations as in docs/maths.md. */

#define S(k) (*(V *)(scores + (k) * stride))

/* The largest score, which is subtracted before exp. */
INLINE V NAME(largest)(const float *scores, long stride, long K)
{
    V best = S(0);
    for (long k = 1; k < K; k++) best = NAME(choose)(S(k) > best, S(k), best);
    return best;
}

/* Equation (4); of equal scores the first class. */
INLINE I NAME(predictions)(const float *scores, long stride, long K)
{
    V best = S(0);
    I index = {0};
    for (long k = 1; k < K; k++) {
        I better = S(k) > best;
        best = NAME(choose)(better, S(k), best);
        index = (better & (int32_t)k) | (~better & index);
    }
    return index;
}

/* The score of each lane's own class. */
INLINE V NAME(own)(const float *scores, long stride, long K, I label)
{
    V own = {0};
    for (long k = 0; k < K; k++) own = NAME(choose)(label == (int32_t)k, S(k), own);
    return own;
}

/* Equation (6): log sum exp(s) - s_y. */
INLINE V NAME(cross_entropy)(const float *scores, long stride, long K, I label)
{
    V largest = NAME(largest)(scores, stride, K), sum = {0}, own = {0};
    for (long k = 0; k < K; k++) {
        V s = S(k) - largest;
        sum += NAME(exponential)(s);
        own = NAME(choose)(label == (int32_t)k, s, own);
    }
    return NAME(logarithm)(sum) - own;
}

/* Replace the scores by the derivatives of (6), times `scale`: scale (p - [k = y]). */
INLINE void NAME(cross_entropy_slopes)(float *scores, long stride, long K, I label, V scale)
{
    V largest = NAME(largest)(scores, stride, K), sum = {0};
    for (long k = 0; k < K; k++) {
        S(k) = NAME(exponential)(S(k) - largest);
        sum += S(k);
    }
    V share = scale / sum;
    for (long k = 0; k < K; k++)
        S(k) = S(k) * share - NAME(choose)(label == (int32_t)k, scale, (V){0});
}

/* Where the margin of class k is violated: s_k - s_y + 1 > 0, for k other than y. */
INLINE I NAME(violated)(V s, V own, I label, long k)
{
    return (s - own + 1.0f > 0.0f) & (label != (int32_t)k);
}

/* The hinge: the sum of all violated margins. */
INLINE V NAME(hinge)(const float *scores, long stride, long K, I label)
{
    V own = NAME(own)(scores, stride, K, label), sum = {0};
    for (long k = 0; k < K; k++)
        sum += NAME(choose)(NAME(violated)(S(k), own, label, k), S(k) - own + 1.0f, (V){0});
    return sum;
}

/* Its derivatives times `scale`: 1 for a violated margin; at y, minus the number of these. */
INLINE void NAME(hinge_slopes)(float *scores, long stride, long K, I label, V scale)
{
    V own = NAME(own)(scores, stride, K, label), sum = {0};
    for (long k = 0; k < K; k++) {
        S(k) = NAME(choose)(NAME(violated)(S(k), own, label, k), scale, (V){0});
        sum += S(k);
    }
    for (long k = 0; k < K; k++) S(k) = NAME(choose)(label == (int32_t)k, -sum, S(k));
}

/* K binary cross-entropies: the mean of log(1 + exp(s_k)), less s_y / K. */
INLINE V NAME(binary_cross_entropy)(const float *scores, long stride, long K, I label)
{
    V sum = -NAME(own)(scores, stride, K, label);
    for (long k = 0; k < K; k++) {
        V s = S(k), size = NAME(choose)(s > 0.0f, s, -s);
        sum += NAME(choose)(s > 0.0f, s, (V){0}) +
               NAME(logarithm)(1.0f + NAME(exponential)(-size));
    }
    return sum / (float)K;
}

/* Their derivatives times `scale`: (sigmoid(s_k) - [k = y]) / K. */
INLINE void NAME(binary_cross_entropy_slopes)(float *scores, long stride, long K, I label, V scale)
{
    V share = scale / (float)K;
    for (long k = 0; k < K; k++) {
        V s = S(k), e = NAME(exponential)(NAME(choose)(s > 0.0f, -s, s));
        V p = NAME(choose)(s > 0.0f, NAME(all)(1.0f), e) / (1.0f + e);
        S(k) = (p - NAME(choose)(label == (int32_t)k, NAME(all)(1.0f), (V){0})) * share;
    }
}

INLINE V NAME(value)(int loss, const float *scores, long stride, long K, I label)
{
    switch (loss) {
    case HINGE: return NAME(hinge)(scores, stride, K, label);
    case BINARY_CROSS_ENTROPY: return NAME(binary_cross_entropy)(scores, stride, K, label);
    default: return NAME(cross_entropy)(scores, stride, K, label);
    }
}

INLINE void NAME(slopes)(int loss, float *scores, long stride, long K, I label, V scale)
{
    switch (loss) {
    case HINGE: NAME(hinge_slopes)(scores, stride, K, label, scale); break;
    case BINARY_CROSS_ENTROPY:
        NAME(binary_cross_entropy_slopes)(scores, stride, K, label, scale);
        break;
    default: NAME(cross_entropy_slopes)(scores, stride, K, label, scale);
    }
}

/* Replace the first part of the scores by the sum of parts and biases; lanes without a row get 0.
 * A lane of the result is 0, or not a number if one of its scores is not finite. */
INLINE V NAME(assemble)(float *scores, long stride, long K, long part_stride, long parts,
                        const float *biases, I counted)
{
    V check = {0};
    for (long k = 0; k < K; k++) {
        V s = S(k) + biases[k];
        for (long part = 1; part < parts; part++)
            s += *(const V *)(scores + part * part_stride + k * stride);
        S(k) = NAME(choose)(counted, s, (V){0});
        check += S(k) * 0;
    }
    return check;
}

/* Add the weighted losses and hits of these scores; the loss is not a number where `check` is not
 * one. */
INLINE void NAME(tally)(int loss, const float *scores, long stride, long K, I label, V check,
                        V weights, found *sum)
{
    I right = NAME(predictions)(scores, stride, K) == label;
    V value = (NAME(value)(loss, scores, stride, K, label) + check) * weights;
    for (int i = 0; i < WIDTH; i++) {
        if (weights[i] == 0) continue;
        sum->loss += value[i];
        sum->hits += right[i] ? weights[i] : 0;
    }
}

/* Turn the scores of `rows`, at most a register of them, into slopes of the loss times `scale`.
 * Before that, add losses and hits of the rows of weight 0 to `held_out`. Returns whether all
 * scores are finite. */
static int NAME(differentiate)(float *scores, long stride, long K, long part_stride, long parts,
                               const float *biases, int loss, const samples *rows, float scale,
                               found *held_out)
{
    I counted = NAME(first)(rows->count), label = *(const I *)rows->labels;
    V check = NAME(assemble)(scores, stride, K, part_stride, parts, biases, counted);
    V weights = NAME(all)(1.0f);
    if (rows->weights) {
        weights = *(const V *)rows->weights;
        V out = NAME(choose)(counted & (weights == 0.0f), NAME(all)(1.0f), (V){0});
        NAME(tally)(loss, scores, stride, K, label, check, out, held_out);
    }
    NAME(slopes)(loss, scores, stride, K, label, NAME(choose)(counted, weights * scale, (V){0}));
    return NAME(sum)(check) == 0;
}

/* Add the losses and the right predictions of these rows. */
static void NAME(measure)(float *scores, long stride, long K, const float *biases, int loss,
                          const samples *rows, found *sum)
{
    I counted = NAME(first)(rows->count);
    V check = NAME(assemble)(scores, stride, K, 0, 1, biases, counted);
    V weights = rows->weights ? *(const V *)rows->weights : NAME(all)(1.0f);
    NAME(tally)(loss, scores, stride, K, *(const I *)rows->labels, check,
                NAME(choose)(counted, weights, (V){0}), sum);
}

#undef S
