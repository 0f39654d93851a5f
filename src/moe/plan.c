/* A stable counting sort of pairs by expert: token order is kept within an expert, so sums over its rows have a fixed order. No gradient. */
#include <string.h>

#include "base/error.h"
#include "moe/moe.h"

moe_plan plan_build(tape *t, const routing *r, int experts) {
    ptrdiff_t P = r->pairs;
    int32_t *row = tape_keep(t, sizeof *row * (size_t)P), *pair = tape_keep(t, sizeof *pair * (size_t)P),
            *token = tape_keep(t, sizeof *token * (size_t)P);
    ptrdiff_t *start = tape_keep(t, sizeof *start * (size_t)(experts + 1)), *next = tape_keep(t, sizeof *next * (size_t)experts);
    memset(start, 0, sizeof *start * (size_t)(experts + 1));
    for (ptrdiff_t i = 0; i < P; i++) start[r->expert[i] + 1]++;
    for (int e = 0; e < experts; e++) start[e + 1] += start[e], next[e] = start[e];
    for (ptrdiff_t i = 0; i < P; i++) {
        ptrdiff_t at = next[r->expert[i]]++;
        row[i] = (int32_t)at, pair[at] = (int32_t)i, token[at] = r->token[i];
    }
    return (moe_plan){row, pair, token, start, P, experts};
}

void plan_check(const moe_plan *p, const routing *r) {
    CHECK(p->start[0] == 0 && p->start[p->experts] == p->rows, "rows %td to %td of %td", p->start[0], p->start[p->experts], p->rows);
    for (int e = 0; e < p->experts; e++) {
        CHECK(p->start[e] <= p->start[e + 1], "expert %d begins at %td and ends at %td", e, p->start[e], p->start[e + 1]);
        for (ptrdiff_t i = p->start[e]; i < p->start[e + 1]; i++) {
            int32_t pair = p->pair[i];
            CHECK(pair >= 0 && pair < r->pairs && p->row[pair] == i, "row %td holds pair %d, whose row is %d", i, pair, p->row[pair]);
            CHECK(r->expert[pair] == e && r->token[pair] == p->token[i], "row %td of expert %d, token %d", i, e, p->token[i]);
        }
    }
}
