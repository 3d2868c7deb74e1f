/* The kernels for one instruction set. Included once for each, with
 *   NAME(f)     the function's name on this instruction set
 *   WIDTH       floats in a vector register
 *   ROWS, COLS  the tile of scores that fits its registers
 *   LOAD_BYTES  WIDTH bytes as floats; left to itself the compiler goes a roundabout way
 * Letters as in docs/maths.md; C = M*K is the number of stacked columns. */

typedef float NAME(vector) __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
#define V NAME(vector)

/* The sum of a vector's elements, by halves. */
static inline __attribute__((always_inline)) float NAME(sum)(V v)
{
    typedef float four __attribute__((vector_size(16), aligned(4), may_alias));
    float part[WIDTH];
    memcpy(part, &v, sizeof part);
    four a = *(four *)part;
    for (int i = 4; i < WIDTH; i += 4) a += *(four *)(part + i);
    return (a[0] + a[1]) + (a[2] + a[3]);
}

/* scores: out[r][c] (+)= sum over d of X[r][d] W[c][d], for one tile. */
static inline __attribute__((always_inline)) void NAME(scores_tile)(
    const float *X, long x_stride, const float *W, long w_stride, long length,
    float *out, long out_stride, int rows, int cols, int add)
{
    V sum[ROWS][COLS];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) sum[r][c] = (V){0};
    for (long d = 0; d < length; d += WIDTH) {
        V x[ROWS];
        for (int r = 0; r < rows; r++) x[r] = *(const V *)(X + r * x_stride + d);
        for (int c = 0; c < cols; c++) {
            V w = *(const V *)(W + c * w_stride + d);
            for (int r = 0; r < rows; r++) sum[r][c] += x[r] * w;
        }
    }
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) {
            float total = NAME(sum)(sum[r][c]);
            if (add) out[r * out_stride + c] += total;
            else out[r * out_stride + c] = total;
        }
}

#undef TILE_CASE
#define TILE_CASE(n) case n: NAME(scores_tile)(X, x_stride, W, w_stride, length, out, out_stride, ROWS, n, add); break;

static void NAME(scores_cols)(
    const float *X, long x_stride, const float *W, long w_stride, long length,
    float *out, long out_stride, int cols, int add)
{
    switch (cols) {
        TILE_CASE(1) TILE_CASE(2) TILE_CASE(3)
#if COLS > 3
        TILE_CASE(4)
#endif
#if COLS > 4
        TILE_CASE(5)
#endif
#if COLS > 5
        TILE_CASE(6)
#endif
    }
}

/* All scores of `rows` rows (a multiple of ROWS) over one stretch of features. */
static void NAME(scores)(
    const float *X, long x_stride, const float *W, long w_stride, long length,
    long rows, long C, float *out, long out_stride, int add)
{
    for (long c = 0; c < C; c += COLS) {
        int cols = C - c < COLS ? (int)(C - c) : COLS;
        for (long r = 0; r < rows; r += ROWS)
            NAME(scores_cols)(X + r * x_stride, x_stride, W + c * w_stride, w_stride, length,
                              out + r * out_stride + c, out_stride, cols, add);
    }
}

/* W[c][d] = decay[c] W[c][d] - sum over r of G[r][c] X[r][d], for one tile. */
static inline __attribute__((always_inline)) void NAME(descend_tile)(
    const float *X, long x_stride, const float *G, long rows,
    float *W, long w_stride, const float *decay, int cols, int vectors)
{
    V sum[COLS][ROWS];
    for (int c = 0; c < cols; c++)
        for (int v = 0; v < vectors; v++) sum[c][v] = (V){0};
    for (long r = 0; r < rows; r++) {
        V x[ROWS];
        for (int v = 0; v < vectors; v++) x[v] = *(const V *)(X + r * x_stride + v * WIDTH);
        for (int c = 0; c < cols; c++) {
            float g = G[r * COLS + c];
            for (int v = 0; v < vectors; v++) sum[c][v] += g * x[v];
        }
    }
    for (int c = 0; c < cols; c++)
        for (int v = 0; v < vectors; v++) {
            V *w = (V *)(W + c * w_stride + v * WIDTH);
            *w = *w * decay[c] - sum[c][v];
        }
}

#undef DESCEND_CASE
#define DESCEND_CASE(n) \
    case n: \
        for (; d + ROWS * WIDTH <= length; d += ROWS * WIDTH) \
            NAME(descend_tile)(X + d, x_stride, G, rows, W + d, w_stride, decay, n, ROWS); \
        for (; d < length; d += WIDTH) \
            NAME(descend_tile)(X + d, x_stride, G, rows, W + d, w_stride, decay, n, 1); \
        break;

/* G is in tiles: column c of row r stands at (c / COLS) * rows * COLS + r * COLS + c % COLS. */
static void NAME(descend)(
    const float *X, long x_stride, const float *G, long rows, long length, long C,
    float *W, long w_stride, const float *decay)
{
    for (long c = 0; c < C; c += COLS, G += rows * COLS, W += COLS * w_stride, decay += COLS) {
        int cols = C - c < COLS ? (int)(C - c) : COLS;
        long d = 0;
        switch (cols) {
            DESCEND_CASE(1) DESCEND_CASE(2) DESCEND_CASE(3)
#if COLS > 3
            DESCEND_CASE(4)
#endif
#if COLS > 4
            DESCEND_CASE(5)
#endif
#if COLS > 5
            DESCEND_CASE(6)
#endif
        }
    }
}

/* out[r][d] = (x[d] - shift[d]) * factor[d], x from feature `start` of the row of any stored type
 * at the address X[r]; pads with zeros.
 * A part of a row is too short for the processor to see ahead by itself, hence the prefetch. */
#define CONVERT(type, name, LOAD) \
    static void NAME(name)( \
        const int64_t *X, long start, long rows, long length, long padded, const float *shift, \
        const float *factor, float *out) \
    { \
        for (long r = 0; r < rows; r++, out += padded) { \
            const type *x = (const type *)(intptr_t)X[r] + start; \
            long ahead = r + 4 < rows ? r + 4 : rows - 1, d = 0; \
            const type *next = (const type *)(intptr_t)X[ahead] + start; \
            for (; d + WIDTH <= length; d += WIDTH) { \
                __builtin_prefetch(next + d); \
                *(V *)(out + d) = (LOAD(x + d) - *(const V *)(shift + d)) * \
                                  *(const V *)(factor + d); \
            } \
            for (; d < length; d++) out[d] = ((float)x[d] - shift[d]) * factor[d]; \
            for (; d < padded; d++) out[d] = 0; \
        } \
    }
typedef double NAME(doubles) __attribute__((vector_size(8 * WIDTH), aligned(8), may_alias));
#define LOAD_FLOATS(x) (*(const V *)(x))
#define LOAD_DOUBLES(x) __builtin_convertvector(*(const NAME(doubles) *)(x), V)
CONVERT(uint8_t, convert_uint8, LOAD_BYTES)
CONVERT(float, convert_float32, LOAD_FLOATS)
CONVERT(double, convert_float64, LOAD_DOUBLES)
#undef LOAD_FLOATS
#undef LOAD_DOUBLES
#undef CONVERT

/* s[c] <- exp(s[c]) for s <= 0, to two units in the last place; below -87 it is exp(-87). */
static void NAME(exponentials)(float *s, long C)
{
    for (long c = 0; c < C; c++) {
        float x = s[c] >= -87.0f ? s[c] : -87.0f; /* what is not a number, too */
        float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f; /* nearest whole number */
        float r = x - n * 0.693145752f - n * 1.42860677e-6f;
        float p = 1.38889e-3f;
        p = p * r + 8.33333e-3f;
        p = p * r + 4.16666667e-2f;
        p = p * r + 1.66666667e-1f;
        p = p * r + 0.5f;
        p = p * r + 1.0f;
        p = p * r + 1.0f;
        uint32_t bits = (uint32_t)((int32_t)n + 127) << 23;
        float power;
        memcpy(&power, &bits, 4);
        s[c] = p * power;
    }
}

static const kernels NAME(kernels) = {
    ROWS, COLS, WIDTH, NAME(scores), NAME(descend), NAME(exponentials),
    {NAME(convert_uint8), NAME(convert_float32), NAME(convert_float64)},
};
#undef V
#undef NAME
#undef WIDTH
#undef LOAD_BYTES
#undef ROWS
#undef COLS
