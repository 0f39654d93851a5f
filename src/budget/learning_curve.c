#include "budget/learning_curve.h"

#include <math.h>

#include "base/error.h"
#include "base/memory.h"

int curve_add(learning_curve *c, const milestone *m) {
    TRY(memory_reserve(&c->at, &c->room, c->n + 1, sizeof *c->at, "a learning curve"));
    c->at[c->n++] = *m;
    return LAMP_OK;
}

void curve_release(learning_curve *c) {
    memory_free(c->at);
    *c = (learning_curve){0};
}

static milestone mean_of(const milestone *at, size_t n) {
    milestone mean = {0};
    for (size_t i = 0; i < n; i++) {
        for (int s = 0; s < SPENDINGS; s++) mean.spent[s] += at[i].spent[s] / (double)n;
        for (int s = 0; s < SCORES; s++) mean.score[s] += at[i].score[s] / (double)n;
    }
    return mean;
}

void curve_thin(learning_curve *c, size_t most) {
    if (c->n <= most) return;
    for (size_t i = 0; i < most; i++) {
        size_t begin = i * c->n / most, end = (i + 1) * c->n / most;
        c->at[i] = mean_of(c->at + begin, end - begin); /* begin >= i: what is overwritten has been read */
    }
    c->n = most;
}

double curve_end(const learning_curve *c, spending by) { return c->n > 0 ? c->at[c->n - 1].spent[by] : 0; }

double curve_score(const learning_curve *c, spending by, double spent, score_kind what) {
    for (size_t i = 0; i < c->n; i++) {
        const milestone *m = &c->at[i];
        if (m->spent[by] < spent) continue;
        if (m->spent[by] <= spent) return m->score[what];
        if (i == 0) return NAN;
        double share = log(spent / m[-1].spent[by]) / log(m->spent[by] / m[-1].spent[by]);
        return m[-1].score[what] + share * (m->score[what] - m[-1].score[what]);
    }
    return NAN;
}

double curve_spent(const learning_curve *c, spending by, double loss) {
    for (size_t i = 0; i < c->n; i++) {
        const milestone *m = &c->at[i];
        if (m->score[SCORE_LOSS] > loss) continue;
        if (i == 0) return m->score[SCORE_LOSS] < loss ? NAN : m->spent[by];
        double share = (m[-1].score[SCORE_LOSS] - loss) / (m[-1].score[SCORE_LOSS] - m->score[SCORE_LOSS]);
        return m[-1].spent[by] * pow(m->spent[by] / m[-1].spent[by], share);
    }
    return NAN;
}

double curve_ratio(const learning_curve *mine, const learning_curve *theirs, spending by, double spent) {
    double my_loss = curve_score(mine, by, spent, SCORE_LOSS), their_loss = curve_score(theirs, by, spent, SCORE_LOSS);
    if (!(isfinite(my_loss) && isfinite(their_loss))) return NAN;
    return my_loss <= their_loss ? spent / curve_spent(mine, by, their_loss) : curve_spent(theirs, by, my_loss) / spent;
}
