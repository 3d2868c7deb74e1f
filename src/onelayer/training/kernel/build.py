"""Build instructions of the compiled kernel, for cffi; run when the package is installed."""

from pathlib import Path

from cffi import FFI

FOLDER = Path(__file__).parent
DECLARATIONS = """
typedef struct { ...; } stack;
typedef struct { double l2, momentum; int32_t nesterov, loss; } setting;
typedef struct { double loss, hits; } found;
int stack_threads(void);
int stack_supports(int width);
int stack_loss(const char *name);
stack *stack_new(int width, long models, long classes, long features, const float *weights,
                 const float *biases, const setting *settings, const double *shift,
                 const double *factor);
void stack_free(stack *s);
enum { WEIGHTS, VELOCITIES, BEST };
int stack_get(const stack *s, int kind, float *weights, float *biases);
int stack_set(stack *s, int kind, const float *weights, const float *biases);
int64_t stack_get_steps(const stack *s, int64_t *stopped);
void stack_set_steps(stack *s, int64_t steps, const int64_t *stopped);
int stack_remember(stack *s, const uint8_t *models);
void stack_recall(stack *s, const uint8_t *models);
void stack_squares(const stack *s, double *squares);
long stack_room(long rows);
int stack_step(stack *s, int type, const int64_t *X, const int64_t *y, long rows,
               const float *weights, const double *rates, found *held_out);
long stack_evaluation_rows(void);
int stack_evaluate(const stack *s, int type, const int64_t *X, const int64_t *y, long rows,
                   const float *weights, found *sums);
"""

builder = FFI()
builder.cdef(DECLARATIONS)
builder.set_source(
    "onelayer.training._kernel",
    '#include "stack.c"',
    include_dirs=[str(FOLDER)],
    depends=[str(FOLDER / name) for name in ("stack.c", "tiles.h", "lanes.h", "losses.h")],
    extra_compile_args=["-O3", "-fopenmp", "-ffp-contract=fast", "-fno-math-errno"],
    extra_link_args=["-fopenmp"],
    # Without a compiler the package installs all the same, and trains with NumPy.
    optional=True,
)
