/* The kernels for one instruction set. Included once for each, with
 *   NAME(f)     the function's name on this instruction set
 *   WIDTH       floats in a vector register
 *   COLS        columns of a tile: four rows of scores, or four registers of a row, times COLS
 *               fill the registers
 *   LOAD_BYTES  WIDTH bytes as floats; the compiler's own code for it is slow
 * Letters as in docs/maths.md; C = M*K is the number of stacked columns. Scores and their slopes
 * lie by columns, out[c][r], so that what follows the products has a row in each lane. */
#include "lanes.h"
#include "losses.h"

/* scores: out[c][r] (+)= sum over d of X[r][d] W[c][d], for one tile of four rows. */
INLINE void NAME(scores_tile)(
    const float *X, long x_stride, const float *W, long w_stride, long length,
    float *out, long out_stride, int cols, int add)
{
    V sum[COLS][4];
    for (int c = 0; c < cols; c++)
        for (int r = 0; r < 4; r++) sum[c][r] = (V){0};
    for (long d = 0; d < length; d += WIDTH) {
        V w[COLS];
        for (int c = 0; c < cols; c++) w[c] = *(const V *)(W + c * w_stride + d);
        for (int r = 0; r < 4; r++) {
            V x = *(const V *)(X + r * x_stride + d);
            for (int c = 0; c < cols; c++) sum[c][r] += x * w[c];
        }
    }
#pragma GCC unroll 6 /* early, so that the sums stay in registers */
    for (int c = 0; c < cols; c++) {
        four total = NAME(sums)(sum[c][0], sum[c][1], sum[c][2], sum[c][3]);
        four *column = (four *)(out + c * out_stride);
        if (add) total += *column;
        *column = total;
    }
}

#undef TILE_CASE
#define TILE_CASE(n) case n: NAME(scores_tile)(X, x_stride, W, w_stride, length, out, out_stride, n, add); break;

static void NAME(scores_cols)(
    const float *X, long x_stride, const float *W, long w_stride, long length,
    float *out, long out_stride, int cols, int add)
{
    switch (cols) {
        TILE_CASE(1) TILE_CASE(2) TILE_CASE(3)
#if COLS > 3
        TILE_CASE(4) TILE_CASE(5) TILE_CASE(6)
#endif
    }
}

/* While rows r to r + 4 use this tile of W, fetch their share of the next tile: else the first rows
 * of that tile would wait for each of its cache lines. A prefetch beyond the last column does no
 * harm. */
INLINE void NAME(fetch_ahead)(const float *W, long w_stride, long length, long r, long rows)
{
    for (long d = r * length / rows; d < (r + 4) * length / rows; d += 64 / sizeof(float))
        for (int c = 0; c < COLS; c++) __builtin_prefetch(W + c * w_stride + d, 0, 2);
}

/* All scores of `rows` rows (a multiple of four) over one range of features. */
static void NAME(scores)(
    const float *X, long x_stride, const float *W, long w_stride, long length,
    long rows, long C, float *out, long out_stride, int add)
{
    for (long c = 0; c < C; c += COLS) {
        int cols = C - c < COLS ? (int)(C - c) : COLS;
        for (long r = 0; r < rows; r += 4) {
            NAME(fetch_ahead)(W + (c + COLS) * w_stride, w_stride, length, r, rows);
            NAME(scores_cols)(X + r * x_stride, x_stride, W + c * w_stride, w_stride, length,
                              out + c * out_stride + r, out_stride, cols, add);
        }
    }
}

/* The step of one register of weights; g is the gradient, v the velocity or NULL. */
INLINE void NAME(move)(V *w, V *v, V g, const change *model)
{
    if (!v) {
        *w = *w * model->decay - g;
        return;
    }
    g += *w * model->penalty;
    V speed = *v * model->momentum + g, along = g + speed * model->momentum;
    *v = speed;
    *w -= (model->nesterov ? along : speed) * model->rate;
}

/* Move W[c][d] along the sum over r of G[c][r] X[r][d], for one tile. */
INLINE void NAME(descend_tile)(
    const float *X, long x_stride, const float *G, long g_stride, long rows,
    float *W, float *velocity, long w_stride, const change *const *models, int cols, int vectors)
{
    V sum[COLS][4];
    for (int c = 0; c < cols; c++)
        for (int v = 0; v < vectors; v++) {
            sum[c][v] = (V){0};
            __builtin_prefetch(W + c * w_stride + v * WIDTH, 1);
        }
    for (long r = 0; r < rows; r++) {
        V g[COLS];
        for (int c = 0; c < cols; c++) g[c] = NAME(all)(G[c * g_stride + r]);
        for (int v = 0; v < vectors; v++) {
            V x = *(const V *)(X + r * x_stride + v * WIDTH);
            for (int c = 0; c < cols; c++) sum[c][v] += g[c] * x;
        }
    }
    for (int c = 0; c < cols; c++)
        for (int v = 0; v < vectors; v++) {
            long at = c * w_stride + v * WIDTH;
            NAME(move)((V *)(W + at), velocity ? (V *)(velocity + at) : NULL, sum[c][v], models[c]);
        }
}

#undef DESCEND_CASE
#define DESCEND_CASE(n) \
    case n: \
        for (; d + 4 * WIDTH <= length; d += 4 * WIDTH) \
            NAME(descend_tile)(X + d, x_stride, G, g_stride, rows, W + d, \
                               velocity ? velocity + d : NULL, w_stride, models, n, 4); \
        for (; d < length; d += WIDTH) \
            NAME(descend_tile)(X + d, x_stride, G, g_stride, rows, W + d, \
                               velocity ? velocity + d : NULL, w_stride, models, n, 1); \
        break;

/* Move the columns `first` to `first` + C, K for each model; G, W and velocity begin at `first`. */
static void NAME(descend)(
    const float *X, long x_stride, const float *G, long g_stride, long rows, long length,
    long first, long C, long K, float *W, float *velocity, long w_stride, const change *changes)
{
    for (long c = 0; c < C; c += COLS, G += COLS * g_stride, W += COLS * w_stride) {
        int cols = C - c < COLS ? (int)(C - c) : COLS;
        const change *models[COLS];
        for (int i = 0; i < cols; i++) models[i] = changes + (first + c + i) / K;
        long d = 0;
        switch (cols) {
            DESCEND_CASE(1) DESCEND_CASE(2) DESCEND_CASE(3)
#if COLS > 3
            DESCEND_CASE(4) DESCEND_CASE(5) DESCEND_CASE(6)
#endif
        }
        if (velocity) velocity += COLS * w_stride;
    }
}

/* The sum of a column of slopes over `rows` rows; lanes without a row hold zeros. */
static float NAME(total)(const float *G, long rows)
{
    V sum = {0};
    for (long r = 0; r < rows; r += WIDTH) sum += *(const V *)(G + r);
    return NAME(sum)(sum);
}

/* out[r][d] = (x[d] - shift[d]) * factor[d], padded with zeros; x begins at feature `start` of the
 * row, of any stored type, at the address X[r]. Doubles keep the digits of x beside a large mean;
 * for bytes floats are precise enough, and faster. A part of a row is too short for the processor's
 * own prefetch, hence ours. */
#define CONVERT(type, name, real, SCALE) \
    static void NAME(name)( \
        const int64_t *X, long start, long rows, long length, long padded, const scaling *by, \
        float *out) \
    { \
        const real *shift = by->shift_##real + start, *factor = by->factor_##real + start; \
        for (long r = 0; r < rows; r++, out += padded) { \
            const type *x = (const type *)(intptr_t)X[r] + start; \
            long ahead = r + 4 < rows ? r + 4 : rows - 1, d = 0; \
            const type *next = (const type *)(intptr_t)X[ahead] + start; \
            for (; d + WIDTH <= length; d += WIDTH) { \
                __builtin_prefetch(next + d); \
                SCALE(type, d) \
            } \
            for (; d < length; d++) out[d] = (float)(((real)x[d] - shift[d]) * factor[d]); \
            for (; d < padded; d++) out[d] = 0; \
        } \
    }
typedef double NAME(doubles) __attribute__((vector_size(4 * WIDTH), aligned(8), may_alias));
typedef float NAME(half) __attribute__((vector_size(2 * WIDTH), aligned(4), may_alias));
#define DOUBLES(x) (*(const NAME(doubles) *)(x))
#define AS_DOUBLES_float(x) __builtin_convertvector(*(const NAME(half) *)(x), NAME(doubles))
#define AS_DOUBLES_double(x) DOUBLES(x)
#define SCALE_BYTES(type, d) \
    *(V *)(out + d) = (LOAD_BYTES(x + d) - *(const V *)(shift + d)) * *(const V *)(factor + d);
#define SCALE_HALF(type, d) \
    *(NAME(half) *)(out + d) = __builtin_convertvector( \
        (AS_DOUBLES_##type(x + d) - DOUBLES(shift + d)) * DOUBLES(factor + d), NAME(half));
#define SCALE_HALVES(type, d) SCALE_HALF(type, d) SCALE_HALF(type, d + WIDTH / 2)
CONVERT(uint8_t, convert_uint8, float, SCALE_BYTES)
CONVERT(float, convert_float32, double, SCALE_HALVES)
CONVERT(double, convert_float64, double, SCALE_HALVES)
#undef DOUBLES
#undef AS_DOUBLES_float
#undef AS_DOUBLES_double
#undef SCALE_BYTES
#undef SCALE_HALF
#undef SCALE_HALVES
#undef CONVERT

static const kernels NAME(kernels) = {
    COLS, WIDTH, NAME(scores), NAME(descend), NAME(differentiate), NAME(measure), NAME(total),
    {NAME(convert_uint8), NAME(convert_float32), NAME(convert_float64)},
};
#undef V
#undef I
#undef EACH
#undef NAME
#undef WIDTH
#undef LOAD_BYTES
#undef COLS
