/* Arithmetic on whole registers. Included once for each instruction set by tiles.h, which explains
 * NAME and WIDTH. */

typedef float NAME(vector) __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef int32_t NAME(integers) __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
#define V NAME(vector)
#define I NAME(integers)

#if WIDTH == 16
#define EACH(f) {f(0), f(1), f(2), f(3), f(4), f(5), f(6), f(7), \
                 f(8), f(9), f(10), f(11), f(12), f(13), f(14), f(15)}
#else
#define EACH(f) {f(0), f(1), f(2), f(3), f(4), f(5), f(6), f(7)}
#endif

/* The same value in every lane. */
INLINE V NAME(all)(float x) { return x - (V){0}; }

/* a in the lanes where `where` holds, b elsewhere. */
INLINE V NAME(choose)(I where, V a, V b) { return (V)((where & (I)a) | (~where & (I)b)); }

/* The lanes that belong to the first `count`. */
INLINE I NAME(first)(long count)
{
#define LANE(i) i
    static const I lane = EACH(LANE);
#undef LANE
    return lane < (int32_t)(count < WIDTH ? count : WIDTH);
}

/* The sums of four vectors' elements, side by side: transposed by fours, then added. */
INLINE four NAME(sums)(V a, V b, V c, V d)
{
#define SINGLE(i) i / 4 * 4 + i % 4 / 2 + i % 2 * WIDTH
#define SINGLE_ABOVE(i) SINGLE(i) + 2
#define PAIR(i) i / 4 * 4 + i % 2 + i % 4 / 2 * WIDTH
#define PAIR_ABOVE(i) PAIR(i) + 2
    static const I low = EACH(SINGLE), high = EACH(SINGLE_ABOVE);
    static const I first = EACH(PAIR), second = EACH(PAIR_ABOVE);
#undef SINGLE
#undef SINGLE_ABOVE
#undef PAIR
#undef PAIR_ABOVE
    V ab = __builtin_shuffle(a, b, low) + __builtin_shuffle(a, b, high);
    V cd = __builtin_shuffle(c, d, low) + __builtin_shuffle(c, d, high);
    V abcd = __builtin_shuffle(ab, cd, first) + __builtin_shuffle(ab, cd, second);
    const four *quarter = (const four *)&abcd;
    four total = quarter[0];
    for (int i = 1; i < WIDTH / 4; i++) total += quarter[i];
    return total;
}

/* The sum of a vector's elements, by halves. */
INLINE float NAME(sum)(V v)
{
    const four *quarter = (const four *)&v;
    four total = quarter[0];
    for (int i = 1; i < WIDTH / 4; i++) total += quarter[i];
    return (total[0] + total[1]) + (total[2] + total[3]);
}

/* exp(x) for x <= 0, to one unit in the last place; below -87 it is exp(-87). The polynomial is
 * that of Cephes. */
INLINE V NAME(exponential)(V x)
{
    x = NAME(choose)(x >= -87.0f, x, NAME(all)(-87.0f)); /* also if x is not a number */
    V n = (x * 1.44269504f + 12582912.0f) - 12582912.0f; /* nearest whole number */
    V r = x - n * 0.693145752f - n * 1.42860677e-6f;
    V p = NAME(all)(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return p * (V)((__builtin_convertvector(n, I) + 127) << 23);
}

/* log(x) for normal x > 0, to one unit in the last place: x = 2^n (1 + f) with 1 + f between
 * sqrt(1/2) and sqrt(2), and log(1 + f) = 2 artanh(f / (2 + f)). */
INLINE V NAME(logarithm)(V x)
{
    const int32_t root = 0x3f3504f3; /* the bits of sqrt(1/2) */
    I n = ((I)x - root) >> 23;
    V f = (V)((I)x - (n << 23)) - 1.0f;
    V t = f / (f + 2.0f), z = t * t;
    V p = NAME(all)(0.24279078841f);
    p = p * z + 0.28498786688f;
    p = p * z + 0.40000972152f;
    p = p * z + 0.66666662693f;
    /* f - t (f - z p) is 2 t + t z p without the rounding of t in its leading term. */
    V log1p = f - t * (f - z * p);
    V exponent = __builtin_convertvector(n, V);
    return exponent * 0.693145752f + (log1p + exponent * 1.42860677e-6f);
}
