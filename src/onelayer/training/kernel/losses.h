/* The losses, of one model on one register of rows: lane i is row i, and the scores of class k are
 * at scores + k * stride. Nothing goes across lanes, so that a class costs the same for every K.
 * Included once for each instruction set by tiles.h. Equations as in docs/maths.md. */

#define S(k) (*(V *)(scores + (k) * stride))

/* The largest score, which is subtracted before anything is exponentiated. */
INLINE V NAME(largest)(const float *scores, long stride, long K)
{
    V best = S(0);
    for (long k = 1; k < K; k++) best = NAME(choose)(S(k) > best, S(k), best);
    return best;
}

/* Equation (4); the first of equals. */
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

/* The derivatives of (6) by the scores, in their place and times `scale`: scale (p - [k = y]). */
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

/* Add the parts and the biases in the place of the first part, zero in the lanes without a row.
 * Lanes of the result are 0, or not a number where one of the scores is not finite. */
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

/* Turn the scores of `rows` rows, or a register if that is less, into the slopes of their loss
 * times `scale`. Returns whether the scores are all finite. */
static int NAME(differentiate)(float *scores, long stride, long K, long part_stride, long parts,
                               const float *biases, const int32_t *labels, long rows, float scale)
{
    I counted = NAME(first)(rows), label = *(const I *)labels;
    V check = NAME(assemble)(scores, stride, K, part_stride, parts, biases, counted);
    NAME(cross_entropy_slopes)(scores, stride, K, label,
                               NAME(choose)(counted, NAME(all)(scale), (V){0}));
    return NAME(sum)(check) == 0;
}

/* Add the losses and the right predictions of these rows; scores that are not finite have no loss. */
static void NAME(measure)(float *scores, long stride, long K, const float *biases,
                          const int32_t *labels, long rows, double *loss, int64_t *hits)
{
    I counted = NAME(first)(rows), label = *(const I *)labels;
    V check = NAME(assemble)(scores, stride, K, 0, 1, biases, counted);
    I right = (NAME(predictions)(scores, stride, K) == label) & counted;
    V value = NAME(choose)(counted, NAME(cross_entropy)(scores, stride, K, label) + check, (V){0});
    for (int i = 0; i < WIDTH; i++) *loss += value[i], *hits -= right[i];
}

#undef S
