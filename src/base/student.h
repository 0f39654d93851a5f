/* What a few measurements say of a mean: its interval of 95 % by Student's t, for errors that are normal. */
#ifndef STUDENT_H
#define STUDENT_H

typedef struct {
    double mean, margin; /* the interval is mean - margin to mean + margin; NAN: one measurement alone does not say */
} interval;

/* The t that 5 % of absolute values exceed, of so many degrees of freedom, which need not be whole. */
double student_t(double freedom);

interval interval_of_mean(const double *x, int n);

/* Of mean a - mean b, whose variances may differ (Welch 1947). */
interval interval_of_difference(const double *a, int n_a, const double *b, int n_b);

#endif
