/* The layer: the five nouns in order. */
#include "moe/moe.h"

tensor *moe(tape *t, tensor *x, const moe_weights *w, const moe_config *c, moe_trace *trace, int layer) {
    routing r = route_softmax(t, x, w->router, c);
    moe_plan p = plan_build(t, &r, c->experts);
    if (trace) moe_trace_record(trace, layer, r.pairs, r.token, r.expert, r.weights->x);
    if (t->training && c->switch_loss > 0) balance_switch(t, &r, &p, c->switch_loss);
    if (t->training && c->z_loss > 0) balance_z(t, &r, c->z_loss);
    tensor *rows = dispatch(t, x, &p, &r);
    rows = experts(t, rows, w, &p, &r);
    return combine(t, rows, &p, &r);
}
