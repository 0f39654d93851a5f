#include "base/student.h"

#include <math.h>

/* With t = sqrt(freedom) tan(angle), P(|T| < t) = c * integral of cos^(freedom - 1) from 0 to angle; Simpson's rule. */
static double share_within(double angle, double freedom) {
    enum { PIECES = 256 };
    double c = 2 / sqrt(M_PI) * exp(lgamma((freedom + 1) / 2) - lgamma(freedom / 2)), sum = 0;
    for (int i = 0; i <= PIECES; i++) sum += (i == 0 || i == PIECES ? 1 : i % 2 ? 4 : 2) * pow(cos(angle * i / PIECES), freedom - 1);
    return c * sum * angle / PIECES / 3;
}

double student_t(double freedom) {
    double low = 0, high = M_PI / 2;
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;
        if (share_within(middle, freedom) < 0.95) low = middle;
        else high = middle;
    }
    return sqrt(freedom) * tan(low);
}

static double mean_of(const double *x, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += x[i];
    return sum / n;
}

/* Of the mean of n. */
static double variance_of_mean(const double *x, int n) {
    double mean = mean_of(x, n), sum = 0;
    for (int i = 0; i < n; i++) sum += (x[i] - mean) * (x[i] - mean);
    return sum / (n - 1) / n;
}

interval interval_of_mean(const double *x, int n) {
    if (n < 2) return (interval){n == 1 ? x[0] : NAN, NAN};
    return (interval){mean_of(x, n), student_t(n - 1) * sqrt(variance_of_mean(x, n))};
}

interval interval_of_difference(const double *a, int n_a, const double *b, int n_b) {
    interval difference = {mean_of(a, n_a) - mean_of(b, n_b), NAN};
    if (n_a < 2 || n_b < 2) return difference;
    double u = variance_of_mean(a, n_a), v = variance_of_mean(b, n_b);
    double freedom = (u + v) * (u + v) / (u * u / (n_a - 1) + v * v / (n_b - 1));
    difference.margin = u + v > 0 ? student_t(freedom) * sqrt(u + v) : 0;
    return difference;
}
