#include "budget/effective_parameters.h"

#include <math.h>

static bool has_three_totals(const sized_loss *x, int n) {
    for (int i = 1; i < n; i++)
        for (int j = i + 1; j < n; j++)
            if (x[0].total != x[i].total && x[0].total != x[j].total && x[i].total != x[j].total) return true;
    return false;
}

typedef struct {
    double active, total, loss; /* logarithms of sizes; less their means */
} centred;

static centred mean_of(const sized_loss *x, int n) {
    centred mean = {0};
    for (int i = 0; i < n; i++) mean.active += log(x[i].active) / n, mean.total += log(x[i].total) / n, mean.loss += x[i].loss / n;
    return mean;
}

static double size_of(const centred *c, double s) { return (1 - s) * c->active + s * c->total; }

static centred less(const sized_loss *x, const centred *mean) {
    return (centred){log(x->active) - mean->active, log(x->total) - mean->total, x->loss - mean->loss};
}

static void fit_line(effective_fit *f, const sized_loss *x, int n, double s) {
    centred mean = mean_of(x, n);
    double square = 0, product = 0, left = 0;
    for (int i = 0; i < n; i++) {
        centred c = less(&x[i], &mean);
        square += size_of(&c, s) * size_of(&c, s), product += size_of(&c, s) * c.loss;
    }
    double b = -product / square;
    for (int i = 0; i < n; i++) {
        centred c = less(&x[i], &mean);
        left += pow(c.loss + b * size_of(&c, s), 2);
    }
    *f = (effective_fit){mean.loss + b * size_of(&mean, s), b, s, sqrt(left / n)};
}

bool effective_parameters_fit(effective_fit *f, const sized_loss *x, int n) {
    if (!has_three_totals(x, n)) return false;
    centred mean = mean_of(x, n);
    double aa = 0, tt = 0, at = 0, al = 0, tl = 0; /* sums of products */
    for (int i = 0; i < n; i++) {
        centred c = less(&x[i], &mean);
        aa += c.active * c.active, tt += c.total * c.total, at += c.active * c.total, al += c.active * c.loss, tl += c.total * c.loss;
    }
    double determinant = aa * tt - at * at;
    if (!(determinant > 1e-6 * aa * tt)) return false;
    double by_active = (al * tt - tl * at) / determinant, by_total = (tl * aa - al * at) / determinant;
    if (by_active < 0 && by_total < 0) {
        fit_line(f, x, n, by_total / (by_active + by_total));
        return true;
    }
    effective_fit total;
    fit_line(f, x, n, 0), fit_line(&total, x, n, 1);
    if (total.error < f->error) *f = total;
    return f->b > 0;
}
