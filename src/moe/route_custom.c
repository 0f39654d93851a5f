/* Routers from outside (lamp_router_add). p = softmax(x W_r^T) as in route_softmax.c; a function of the caller turns the p of a token into how
 * much each expert is wanted and a factor f; the token takes its K most wanted experts, each of weight f p (or, normalised, its share of
 * their sum). What is wanted has no gradient and f is a constant in backward: the matrix learns through p. Whatever the function writes,
 * the choice is one of K different experts. */
#include <string.h>

#include "base/error.h"
#include "moe/route.h"
#include "ops/ops.h"

enum { MOST = 8 }; /* in one process */

static struct custom {
    struct router row; /* first: config.router is this row */
    char name[OPTION_NAME_BYTES];
    lamp_route *function;
    void *context;
} custom[MOST];
static int n_custom;

/* want, factor (N, E) of scores p (N, E), row by row through the floats of the public interface. */
static void ask(const struct custom *c, tape *t, real *want, real *factor, const tensor *p) {
    ptrdiff_t E = p->cols;
    float *score = tape_keep(t, 3 * sizeof *score * (size_t)E), *wanted = score + E, *times = wanted + E;
    for (ptrdiff_t n = 0; n < p->rows; n++) {
        for (ptrdiff_t e = 0; e < E; e++) score[e] = wanted[e] = (float)p->x[n * E + e], times[e] = 1;
        c->function(c->context, wanted, times, score, (int)E);
        for (ptrdiff_t e = 0; e < E; e++) want[n * E + e] = (real)wanted[e], factor[n * E + e] = (real)times[e];
    }
}

struct multiply_saved {
    tensor *x, *y;
    const real *factor;
};

/* y = f x, f constant:   dx += f dy */
static void multiply_backward(tape *t, void *saved) {
    struct multiply_saved *s = saved;
    real *dx = tape_gradient(t, s->x);
    for (ptrdiff_t i = 0; i < s->y->rows * s->y->cols; i++) dx[i] += s->factor[i] * s->y->dx[i];
}

static tensor *multiply(tape *t, tensor *x, const real *factor) {
    tensor *y = tape_tensor(t, x->rows, x->cols);
    for (ptrdiff_t i = 0; i < x->rows * x->cols; i++) y->x[i] = factor[i] * x->x[i];
    RECORD(t, y, multiply_backward, (struct multiply_saved){x, y, factor});
    return y;
}

static routing route(tape *t, tensor *x, const moe_layer *l) {
    tensor *logits = router_logits(t, x, l), *p = softmax(t, logits);
    real *factor = tape_tensor(t, p->rows, p->cols)->x, *want = tape_borrow(t, p->rows * p->cols);
    ask((const struct custom *)l->c->router, t, want, factor, p);
    routing r = routing_choose(t, want, p->rows, l->c, 1);
    tape_return(t, want);
    r.logits = logits, r.probabilities = p, r.weights = routing_weigh(t, &r, multiply(t, p, factor), l->c);
    return r;
}

int lamp_router_add(const char *name, lamp_route *function, void *context) {
    size_t length = strlen(name);
    if (length == 0 || length >= OPTION_NAME_BYTES || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != length)
        FAIL(LAMP_INVALID, "lamp_router_add: expected a name of 1 to %d lower-case letters, digits and _, found \"%.80s\"", OPTION_NAME_BYTES - 1,
             name);
    if (!function) FAIL(LAMP_INVALID, "lamp_router_add: router \"%s\" has no function", name);
    if (n_custom == MOST) FAIL(LAMP_INVALID, "lamp_router_add: there are %d routers already, and room for no more", MOST);
    struct custom *c = &custom[n_custom];
    *c = (struct custom){.function = function, .context = context};
    strcpy(c->name, name);
    c->row = (struct router){.name = c->name, .declare = router_softmax.declare, .route = route, .takes_drop = true, .takes_shares = true};
    TRY(router_add(&c->row));
    n_custom++;
    return LAMP_OK;
}
