/* A stack of M softmax networks in float32: one step of gradient descent, and evaluation.
 *
 * Letters as in docs/maths.md; C = M*K columns of scores. The features are cut into `parts`. A part
 * has its own range of X and W, which a thread finds in its cache both for the scores and for the
 * gradient. The parts and the order of all sums do not depend on the number of threads, so neither
 * do the bits of the result.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#define PART 768            /* features of a part, about: a tile of W fits the L1 cache */
#define EVALUATION_ROWS 96  /* rows scored at a time: their part of X fits the L2 cache */

#define INLINE static inline __attribute__((always_inline))

typedef float four __attribute__((vector_size(16), aligned(4), may_alias));

/* Shift and factor of each feature (D); the floats are for features that are bytes. */
typedef struct {
    double *shift_double, *factor_double;
    float *shift_float, *factor_float;
} scaling;

typedef void convert_rows(const int64_t *X, long start, long rows, long length, long padded,
                          const scaling *by, float *out);

enum { CROSS_ENTROPY, HINGE, BINARY_CROSS_ENTROPY, LOSSES };
enum { WEIGHTS, VELOCITIES, BEST }; /* kinds of parameters */

static const char *const loss_names[LOSSES] = {
    [CROSS_ENTROPY] = "cross-entropy",
    [HINGE] = "hinge",
    [BINARY_CROSS_ENTROPY] = "binary-cross-entropy",
};

/* What stays the same for one model in all steps. */
typedef struct {
    double l2, momentum;
    int32_t nesterov, loss;
} setting;

/* One step of one model, whose slopes are multiplied by `scale`: w <- decay w - g. In a stack with
 * velocities: g <- g + penalty w, v <- momentum v + g, w <- w - rate v; if `nesterov`,
 * w <- w - rate (g + momentum v). */
typedef struct {
    float scale, decay, rate, penalty, momentum, nesterov;
} change;

static const change AT_REST = {.decay = 1, .momentum = 1};

/* Some rows, with the weights that they have for one model. */
typedef struct {
    const int32_t *labels;
    const float *weights; /* NULL: all 1 */
    long count;
} samples;

/* Weighted sums over rows. */
typedef struct {
    double loss, hits;
} found;

typedef struct {
    int cols, width; /* columns of a tile, floats of a register */
    void (*scores)(const float *X, long x_stride, const float *W, long w_stride, long length,
                   long rows, long C, float *out, long out_stride, int add);
    void (*descend)(const float *X, long x_stride, const float *G, long g_stride, long rows,
                    long length, long first, long C, long K, float *W, float *velocity,
                    long w_stride, const change *changes);
    int (*differentiate)(float *scores, long stride, long K, long part_stride, long parts,
                         const float *biases, int loss, const samples *rows, float scale,
                         found *held_out);
    void (*measure)(float *scores, long stride, long K, const float *biases, int loss,
                    const samples *rows, found *sum);
    float (*total)(const float *G, long rows);
    convert_rows *convert[3]; /* from uint8, float32, float64 */
} kernels;

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,prefer-vector-width=512")
#define NAME(f) f##_avx512
#define LOAD_BYTES(x) \
    (__m512)_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(x))))
#define WIDTH 16
#define COLS 6
#include "tiles.h"
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define NAME(f) f##_avx2
#define LOAD_BYTES(x) \
    (__m256)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(x))))
#define WIDTH 8
#define COLS 3
#include "tiles.h"
#pragma GCC pop_options

static const kernels *find_kernels(int width)
{
    if (width == 16 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return &kernels_avx512;
    if (width == 8 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &kernels_avx2;
    return NULL;
}
#else
static const kernels *find_kernels(int width) { return width ? NULL : NULL; }
#endif

/* The number of threads of the next stack: all cores, unless the user or threadpoolctl set it. */
int stack_threads(void)
{
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

/* Whether this machine can run the kernels with registers of `width` floats: 16 or 8. */
int stack_supports(int width) { return find_kernels(width) != NULL; }

/* The number of the loss of that name, -1 if the kernel has no such loss. */
int stack_loss(const char *name)
{
    int loss = LOSSES - 1;
    while (loss >= 0 && strcmp(loss_names[loss], name)) loss--;
    return loss;
}

typedef struct {
    long models, classes, columns, features, padded; /* M, K, C, D, D rounded up */
    long parts, threads, capacity;                   /* capacity: rows the batch buffers hold */
    const kernels *run;
    float *weights, *biases;             /* (C, padded), (C) */
    float *velocity, *bias_velocity;     /* the same; NULL if no model has momentum */
    setting *settings;                   /* (M) */
    change *changes;                     /* (M), of this step */
    int64_t steps, *stopped;             /* taken so far; (M): the first step, from 1, with a score
                                            that was not finite, or 0 */
    uint8_t *unsound;                    /* (M): whether such a score was found */
    float *best_weights, *best_biases;   /* those remembered; NULL until then */
    scaling scaling;
    float *X, *scores;                   /* of a batch: by parts, and (parts, C, capacity) */
    int32_t *labels;                     /* (capacity) */
    found *held_out;                     /* of a batch: (M, registers of capacity) */
} stack;

static long rounded(long n, long unit) { return (n + unit - 1) / unit * unit; }

/* The first feature of a part; parts are whole registers. */
static long part_start(const stack *s, long part)
{
    long registers = s->padded / s->run->width;
    return registers * part / s->parts * s->run->width;
}

static float *floats(long count)
{
    float *memory = NULL;
    if (posix_memalign((void **)&memory, 64, (size_t)count * sizeof(float))) return NULL;
    memset(memory, 0, (size_t)count * sizeof(float));
    return memory;
}

void stack_free(stack *s)
{
    if (!s) return;
    free(s->weights), free(s->biases), free(s->velocity), free(s->bias_velocity);
    free(s->settings), free(s->changes), free(s->stopped), free(s->unsound);
    free(s->scaling.shift_double), free(s->scaling.factor_double);
    free(s->scaling.shift_float), free(s->scaling.factor_float);
    free(s->best_weights), free(s->best_biases);
    free(s->X), free(s->scores), free(s->labels), free(s->held_out);
    free(s);
}

/* Find the weights (C, padded) and biases (C) of one kind; NULL if there are none. */
static void find_parameters(const stack *s, int kind, float **weights, float **biases)
{
    *weights = kind == WEIGHTS ? s->weights : kind == VELOCITIES ? s->velocity : s->best_weights;
    *biases = kind == WEIGHTS ? s->biases : kind == VELOCITIES ? s->bias_velocity : s->best_biases;
}

/* Make room for the best parameters. 0: no memory. */
static int reserve_best(stack *s)
{
    if (!s->best_weights) s->best_weights = floats(s->columns * s->padded);
    if (!s->best_biases) s->best_biases = floats(s->columns);
    return s->best_weights && s->best_biases;
}

/* Copy out weights (C, D) and biases (C) of one kind. 0: there are none. */
int stack_get(const stack *s, int kind, float *weights, float *biases)
{
    float *W, *b;
    find_parameters(s, kind, &W, &b);
    if (!W) return 0;
    for (long c = 0; c < s->columns; c++)
        memcpy(weights + c * s->features, W + c * s->padded, s->features * sizeof(float));
    memcpy(biases, b, s->columns * sizeof(float));
    return 1;
}

/* Copy them in. 0: no memory, or the models have no velocities. */
int stack_set(stack *s, int kind, const float *weights, const float *biases)
{
    float *W, *b;
    if (kind == BEST && !reserve_best(s)) return 0;
    find_parameters(s, kind, &W, &b);
    if (!W) return 0;
    for (long c = 0; c < s->columns; c++)
        memcpy(W + c * s->padded, weights + c * s->features, s->features * sizeof(float));
    memcpy(b, biases, s->columns * sizeof(float));
    return 1;
}

/* Return the number of steps, and the step in which each model was stopped (M). */
int64_t stack_get_steps(const stack *s, int64_t *stopped)
{
    memcpy(stopped, s->stopped, s->models * sizeof *stopped);
    return s->steps;
}

void stack_set_steps(stack *s, int64_t steps, const int64_t *stopped)
{
    s->steps = steps;
    memcpy(s->stopped, stopped, s->models * sizeof *stopped);
}

static void copy_models(const stack *s, const uint8_t *models, const float *from, float *to,
                        long row)
{
    long size = s->classes * row;
    for (long m = 0; m < s->models; m++)
        if (models[m]) memcpy(to + m * size, from + m * size, size * sizeof(float));
}

/* Remember the present parameters of the chosen models (M). 0: no memory. */
int stack_remember(stack *s, const uint8_t *models)
{
    if (!reserve_best(s)) return 0;
    copy_models(s, models, s->weights, s->best_weights, s->padded);
    copy_models(s, models, s->biases, s->best_biases, 1);
    return 1;
}

/* Restore the remembered parameters of the chosen models (M). */
void stack_recall(stack *s, const uint8_t *models)
{
    if (!s->best_weights || !s->best_biases) return;
    copy_models(s, models, s->best_weights, s->weights, s->padded);
    copy_models(s, models, s->best_biases, s->biases, 1);
}

/* Copy shift and factor (D). 0: no memory. */
static int set_scaling(scaling *to, long features, const double *shift, const double *factor)
{
    size_t bytes = features * sizeof(double);
    to->shift_double = malloc(bytes), to->factor_double = malloc(bytes);
    to->shift_float = floats(features), to->factor_float = floats(features);
    if (!to->shift_double || !to->factor_double || !to->shift_float || !to->factor_float) return 0;
    memcpy(to->shift_double, shift, bytes), memcpy(to->factor_double, factor, bytes);
    for (long d = 0; d < features; d++)
        to->shift_float[d] = (float)shift[d], to->factor_float[d] = (float)factor[d];
    return 1;
}

/* Weights (C, D), biases (C), settings (M), shift and factor (D). `width` is one that
 * stack_supports. NULL: no memory. */
stack *stack_new(int width, long models, long classes, long features, const float *weights,
                 const float *biases, const setting *settings, const double *shift,
                 const double *factor)
{
    int momentum = 0;
    for (long m = 0; m < models; m++) momentum |= settings[m].momentum != 0;
    stack *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->run = find_kernels(width);
    s->models = models, s->classes = classes, s->columns = models * classes;
    s->features = features, s->padded = rounded(features, s->run->width);
    s->parts = (s->padded + PART / 2) / PART > 1 ? (s->padded + PART / 2) / PART : 1;
    s->threads = stack_threads();
    s->weights = floats(s->columns * s->padded), s->biases = floats(s->columns);
    s->settings = malloc(models * sizeof *settings);
    s->changes = malloc(models * sizeof *s->changes);
    s->stopped = calloc(models, sizeof *s->stopped), s->unsound = calloc(models, 1);
    int enough = s->weights && s->biases && s->settings && s->changes && s->stopped && s->unsound &&
                 set_scaling(&s->scaling, features, shift, factor);
    if (momentum) {
        s->velocity = floats(s->columns * s->padded), s->bias_velocity = floats(s->columns);
        enough = enough && s->velocity && s->bias_velocity;
    }
    if (!enough) {
        stack_free(s);
        return NULL;
    }
    stack_set(s, WEIGHTS, weights, biases);
    memcpy(s->settings, settings, models * sizeof *settings);
    return s;
}

/* The number of threads for `rows` rows: with less than some 10 microseconds of work for each, more
 * threads would only wait. */
static int team(const stack *s, long rows)
{
    double useful = 1 + (double)rows * s->columns * s->padded / 250000;
    return useful < s->threads ? (int)useful : (int)s->threads;
}

/* The sum of squares of each model's weights, (M). */
void stack_squares(const stack *s, double *squares)
{
#pragma omp parallel for num_threads(team(s, 1)) schedule(static)
    for (long m = 0; m < s->models; m++) {
        double total = 0;
        for (long k = 0; k < s->classes; k++) {
            const float *row = s->weights + (m * s->classes + k) * s->padded;
            double lanes[16] = {0};
            for (long d = 0; d < s->features; d++) lanes[d % 16] += (double)row[d] * row[d];
            for (int i = 0; i < 16; i++) total += lanes[i];
        }
        squares[m] = total;
    }
}

static void convert(const stack *s, int type, const int64_t *X, long rows, long part, float *out)
{
    long start = part_start(s, part), end = part_start(s, part + 1);
    long stored = (end < s->features ? end : s->features) - start;
    s->run->convert[type](X, start, rows, stored, end - start, &s->scaling, out);
}

/* The scores of model m from row r on; after `differentiate` the slopes of its loss. */
static float *scores_of(const stack *s, long m, long r)
{
    return s->scores + m * s->classes * s->capacity + r;
}

/* The number of sample weights of a model for `rows` rows: whole registers of the widest kind. */
long stack_room(long rows) { return rounded(rows, 16); }

/* The change of model m in a step on this batch with the learning rate `rate`. */
static change change_of(const stack *s, long m, double rate, const samples *batch)
{
    const setting *own = s->settings + m;
    double total = 0;
    if (batch->weights)
        for (long r = 0; r < batch->count; r++)
            total += batch->weights[m * stack_room(batch->count) + r];
    else
        total = batch->count;
    if (s->stopped[m] || rate <= 0 || total <= 0) return AT_REST;
    return (change){.scale = 1 / total * (s->velocity ? 1 : rate),
                    .decay = 1 - 2 * rate * own->l2,
                    .rate = rate,
                    .penalty = 2 * own->l2,
                    .momentum = own->momentum,
                    .nesterov = own->nesterov};
}

/* Turn the scores of all parts into slopes, for one model and the rows of register `i`. Returns
 * whether all scores are finite; if not, the model is marked as unsound. */
static int differentiate(stack *s, long m, long i, const samples *batch)
{
    long r = i * s->run->width, registers = s->capacity / s->run->width;
    samples rows = {s->labels + r, batch->weights, batch->count - r};
    if (rows.weights) rows.weights += m * stack_room(batch->count) + r;
    found *held_out = s->held_out + m * registers + i;
    *held_out = (found){0, 0};
    int finite = s->run->differentiate(
        scores_of(s, m, r), s->capacity, s->classes, s->columns * s->capacity, s->parts,
        s->biases + m * s->classes, s->settings[m].loss, &rows, s->changes[m].scale, held_out);
    if (!finite) {
#pragma omp atomic write
        s->unsound[m] = 1;
    }
    return finite;
}

/* Stop the models that are unsound: their parameters stay as they are. */
static void freeze(stack *s)
{
    for (long m = 0; m < s->models; m++) {
        if (s->unsound[m] && !s->stopped[m]) s->stopped[m] = s->steps;
        if (!s->stopped[m]) continue;
        s->changes[m] = AT_REST;
        memset(scores_of(s, m, 0), 0, s->classes * s->capacity * sizeof(float));
    }
}

/* The step of one bias: that of a weight without penalty. */
static void move_bias(stack *s, long c, float g, const change *model)
{
    if (!s->velocity) {
        s->biases[c] -= g;
        return;
    }
    float *v = s->bias_velocity + c;
    *v = *v * model->momentum + g;
    s->biases[c] -= (model->nesterov ? g + *v * model->momentum : *v) * model->rate;
}

/* Add loss and hits of the held-out rows of the batch, for each model (M). */
static void add_held_out(const stack *s, long registers, found *sums)
{
    for (long m = 0; m < s->models; m++) {
        const found *of_model = s->held_out + m * (s->capacity / s->run->width);
        found batch = {0, 0};
        for (long i = 0; i < registers; i++)
            batch.loss += of_model[i].loss, batch.hits += of_model[i].hits;
        sums[m].loss += batch.loss, sums[m].hits += batch.hits;
    }
}

/* Convert labels to 32 bits, as the kernels read them. */
static void narrow(const int64_t *y, long rows, int32_t *labels)
{
    for (long r = 0; r < rows; r++) labels[r] = (int32_t)y[r];
}

/* Make room for a batch of `rows`. 0: no memory. */
static int reserve(stack *s, long rows)
{
    if (rows <= s->capacity) return 1;
    long room = stack_room(rows);
    free(s->X), free(s->scores), free(s->labels), free(s->held_out);
    s->X = floats(room * s->padded);
    s->scores = floats(s->parts * s->columns * room);
    s->labels = calloc(room, sizeof *s->labels);
    s->held_out = malloc(s->models * (room / s->run->width) * sizeof *s->held_out);
    s->capacity = s->X && s->scores && s->labels && s->held_out ? room : 0;
    return s->capacity > 0;
}

/* The range of features and the columns of one item of work. */
typedef struct {
    long part, start, length, first, columns;
} share;

static share share_of(const stack *s, long item, long groups)
{
    long cols = s->run->cols, tiles = (s->columns + cols - 1) / cols, group = item % groups;
    share w = {.part = item / groups, .first = tiles * group / groups * cols};
    long last = tiles * (group + 1) / groups * cols;
    w.columns = (last < s->columns ? last : s->columns) - w.first;
    w.start = part_start(s, w.part);
    w.length = part_start(s, w.part + 1) - w.start;
    return w;
}

/* One step on the rows at the addresses X: a batch is read where it is stored, in any number of
 * arrays. y (rows), weights (M, stack_room(rows)) or NULL, learning rates (M). With weights, loss
 * and hits of the rows of weight 0 are added to `held_out` (M). 0: no memory. */
int stack_step(stack *s, int type, const int64_t *X, const int64_t *y, long rows,
               const float *weights, const double *rates, found *held_out)
{
    int threads = team(s, rows), unsound = 0;
    if (!reserve(s, rows)) return 0;
    s->steps++;
    narrow(y, rows, s->labels);
    const samples batch = {s->labels, weights, rows};
    for (long m = 0; m < s->models; m++) s->changes[m] = change_of(s, m, rates[m], &batch);
    const kernels *run = s->run;
    long C = s->columns, room = s->capacity, whole = rounded(rows, 4);
    long registers = (rows + run->width - 1) / run->width;
    long groups = (threads + s->parts - 1) / s->parts; /* of columns, if parts are too few */
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (long part = 0; part < s->parts; part++) {
            float *features = s->X + part_start(s, part) * room;
            convert(s, type, X, rows, part, features);
            if (groups > 1) continue;
            share w = share_of(s, part, 1);
            run->scores(features, w.length, s->weights + w.start, s->padded, w.length, whole, C,
                        s->scores + part * C * room, room, 0);
        }
        if (groups > 1) {
#pragma omp for schedule(static)
            for (long item = 0; item < s->parts * groups; item++) {
                share w = share_of(s, item, groups);
                run->scores(s->X + w.start * room, w.length,
                            s->weights + w.first * s->padded + w.start, s->padded, w.length, whole,
                            w.columns, s->scores + (w.part * C + w.first) * room, room, 0);
            }
        }
#pragma omp for schedule(static) reduction(| : unsound)
        for (long i = 0; i < s->models * registers; i++)
            unsound |= !differentiate(s, i / registers, i % registers, &batch);
        if (unsound) {
#pragma omp single
            freeze(s);
        }
#pragma omp for schedule(static) nowait
        for (long item = 0; item < s->parts * groups; item++) {
            share w = share_of(s, item, groups);
            long at = w.first * s->padded + w.start;
            run->descend(s->X + w.start * room, w.length, s->scores + w.first * room, room, rows,
                         w.length, w.first, w.columns, s->classes, s->weights + at,
                         s->velocity ? s->velocity + at : NULL, s->padded, s->changes);
        }
#pragma omp for schedule(static)
        for (long c = 0; c < C; c++)
            move_bias(s, c, run->total(s->scores + c * room, rows), s->changes + c / s->classes);
    }
    if (weights) add_held_out(s, registers, held_out);
    return 1;
}

/* Add loss and hits of one block of rows for each model (M); `weights` begin at its first row. */
static void evaluate_block(const stack *s, int type, const int64_t *X, const int64_t *y, long rows,
                           const float *weights, long stride, float *features, float *scores,
                           found *sums)
{
    long C = s->columns, K = s->classes, whole = rounded(rows, 4);
    int32_t labels[EVALUATION_ROWS] = {0};
    narrow(y, rows, labels);
    for (long part = 0; part < s->parts; part++) {
        long start = part_start(s, part), length = part_start(s, part + 1) - start;
        convert(s, type, X, rows, part, features);
        s->run->scores(features, length, s->weights + start, s->padded, length, whole, C, scores,
                       EVALUATION_ROWS, part > 0);
    }
    for (long m = 0; m < s->models; m++)
        for (long r = 0; r < rows; r += s->run->width) {
            samples some = {labels + r, weights ? weights + m * stride + r : NULL, rows - r};
            s->run->measure(scores + m * K * EVALUATION_ROWS + r, EVALUATION_ROWS, K,
                            s->biases + m * K, s->settings[m].loss, &some, sums + m);
        }
}

/* Pieces that begin at multiples of this number of rows give the same bits as one evaluation. */
long stack_evaluation_rows(void) { return EVALUATION_ROWS; }

/* Add loss and hits of the rows at X to `sums` (M); weights (M, stack_room(rows)) or NULL. 0: no
 * memory. */
int stack_evaluate(const stack *s, int type, const int64_t *X, const int64_t *y, long rows,
                   const float *weights, found *sums)
{
    long M = s->models, blocks = (rows + EVALUATION_ROWS - 1) / EVALUATION_ROWS;
    found *block_sums = calloc(blocks * M, sizeof *sums);
    int enough = block_sums != NULL;
#pragma omp parallel num_threads(team(s, rows))
    {
        float *features = floats(EVALUATION_ROWS * (2 * PART + s->run->width));
        float *scores = floats(EVALUATION_ROWS * s->columns);
        if (!features || !scores) {
#pragma omp atomic write
            enough = 0;
        }
#pragma omp barrier
#pragma omp for schedule(dynamic)
        for (long block = 0; block < blocks; block++) {
            long first = block * EVALUATION_ROWS;
            long count = rows - first < EVALUATION_ROWS ? rows - first : EVALUATION_ROWS;
            if (enough)
                evaluate_block(s, type, X + first, y + first, count,
                               weights ? weights + first : NULL, stack_room(rows), features,
                               scores, block_sums + block * M);
        }
        free(features), free(scores);
    }
    for (long i = 0; enough && i < blocks * M; i++)
        sums[i % M].loss += block_sums[i].loss, sums[i % M].hits += block_sums[i].hits;
    free(block_sums);
    return enough;
}
