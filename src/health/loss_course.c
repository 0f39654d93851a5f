#include "health/loss_course.h"

#include <math.h>

enum { SHORTEST_TREND = 75, BLOCK = 10 };

const char *const loss_verdict_names[] = {"unknown", "converging", "wobbling", "diverging"};

static void merge_blocks(loss_course *c) {
    for (int i = 0; i < LOSS_BLOCKS / 2; i++) {
        double sum = c->block[2 * i].mean * (double)c->block[2 * i].steps + c->block[2 * i + 1].mean * (double)c->block[2 * i + 1].steps;
        c->block[i].steps = c->block[2 * i].steps + c->block[2 * i + 1].steps;
        c->block[i].mean = sum / (double)c->block[i].steps;
    }
    c->blocks = LOSS_BLOCKS / 2, c->block_steps *= 2;
}

void loss_course_add(loss_course *c, double loss, double learning_rate) {
    if (!isfinite(loss)) return;
    c->recent[c->steps % RECENT_LOSSES] = loss, c->rate[c->steps % RECENT_LOSSES] = learning_rate;
    c->steps++;
    if (c->block_steps == 0) c->block_steps = BLOCK;
    if (c->blocks == 0 || c->block[c->blocks - 1].steps == c->block_steps) {
        if (c->blocks == LOSS_BLOCKS) merge_blocks(c);
        c->block[c->blocks].mean = 0, c->block[c->blocks++].steps = 0;
    }
    int last = c->blocks - 1;
    c->block[last].steps++;
    c->block[last].mean += (loss - c->block[last].mean) / (double)c->block[last].steps;
}

bool loss_course_recent(const loss_course *c, int back, int n, double *mean, double *deviation) {
    if (back + n > RECENT_LOSSES || back + n > c->steps) return false;
    double variance = 0;
    *mean = 0;
    for (int i = 0; i < n; i++) *mean += c->recent[(c->steps - 1 - back - i) % RECENT_LOSSES] / n;
    for (int i = 0; i < n; i++) {
        double difference = c->recent[(c->steps - 1 - back - i) % RECENT_LOSSES] - *mean;
        variance += difference * difference / n;
    }
    *deviation = sqrt(variance);
    return true;
}

double loss_course_rate(const loss_course *c, int back) {
    return back < c->steps && back < RECENT_LOSSES ? c->rate[(c->steps - 1 - back) % RECENT_LOSSES] : 0;
}

/* Least squares through the whole blocks of the second half, each a point. */
bool loss_course_trend(loss_trend *trend, const loss_course *c) {
    int whole = c->blocks - (c->blocks > 0 && c->block[c->blocks - 1].steps < c->block_steps), first = whole / 2, n = whole - first;
    double x_mean = first + (n - 1) / 2.0, y_mean = 0, xx = 0, xy = 0, residual = 0;
    if (n < 5 || n * c->block_steps < SHORTEST_TREND) return false;
    for (int i = first; i < whole; i++) y_mean += c->block[i].mean / n;
    for (int i = first; i < whole; i++) xx += (i - x_mean) * (i - x_mean), xy += (i - x_mean) * (c->block[i].mean - y_mean);
    for (int i = first; i < whole; i++) {
        double error = c->block[i].mean - y_mean - xy / xx * (i - x_mean);
        residual += error * error;
    }
    double block = (double)c->block_steps;
    *trend = (loss_trend){xy / xx / block, sqrt(residual / (n - 2) / xx) / block, y_mean, n * block};
    return true;
}

/* Of at least 50 steps each. */
static double best_block(const loss_course *c) {
    int together = (int)((50 + c->block_steps - 1) / c->block_steps);
    double best = INFINITY;
    for (int i = 0; i + together <= c->blocks; i++) {
        double mean = 0;
        for (int j = 0; j < together; j++) mean += c->block[i + j].mean / together;
        best = fmin(best, mean);
    }
    return best;
}

static bool diverges(const loss_course *c) {
    double mean, deviation, best = best_block(c);
    if (!loss_course_recent(c, 0, 50, &mean, &deviation) || !isfinite(best)) return false;
    double learned = c->block[0].mean - best;
    return mean - best > 5 * deviation / sqrt(50) && mean - best > 0.1 * learned && mean - best > 0.01 * best;
}

static bool wobbles(const loss_course *c) {
    loss_trend trend;
    double least = INFINITY, most = -INFINITY, noise = 0, mean, deviation;
    if (!loss_course_trend(&trend, c) || trend.slope < -2 * trend.error) return false;
    for (int i = 0; i < 10; i++) {
        if (!loss_course_recent(c, 20 * i, 20, &mean, &deviation)) return false;
        least = fmin(least, mean), most = fmax(most, mean), noise += deviation / 10;
    }
    return most - least > 6 * noise / sqrt(20);
}

loss_verdict loss_course_verdict(const loss_course *c) {
    double mean, deviation;
    if (!loss_course_recent(c, 0, 50, &mean, &deviation)) return LOSS_UNKNOWN;
    return diverges(c) ? LOSS_DIVERGING : wobbles(c) ? LOSS_WOBBLING : LOSS_CONVERGING;
}
