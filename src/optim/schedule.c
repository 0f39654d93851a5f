#include "optim/schedule.h"

#include <math.h>
#include <string.h>

double schedule_learning_rate(const schedule *s, double used) {
    double low = s->final_share * s->learning_rate, high = s->learning_rate;
    if (used < s->warmup) return high * used / s->warmup;
    if (used > 1) used = 1;
    if (!strcmp(s->shape, "rsqrt")) return high * sqrt(s->warmup / used);
    if (!strcmp(s->shape, "cosine")) {
        double along = s->warmup < 1 ? (used - s->warmup) / (1 - s->warmup) : 1;
        return low + 0.5 * (high - low) * (1 + cos(M_PI * along));
    }
    double begin = 1 - s->decay;
    return used <= begin ? high : low + (high - low) * (1 - sqrt((used - begin) / s->decay));
}
