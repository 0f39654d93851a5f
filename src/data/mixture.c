#include "data/mixture.h"

#include <math.h>
#include <string.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/log.h"

static int fail_unknown(const char *name, const dataset *d) {
    buffer known = {0};
    for (int i = 0; i < d->n_domains; i++) buffer_printf(&known, "%s%s", i ? ", " : "", d->domain[i].summary.name);
    int status = error_set(LAMP_INVALID, "mixture.%s: the dataset has no such domain; it has %s", name, known.bytes);
    buffer_release(&known);
    return status;
}

static int read_weights(double weight[DATASET_DOMAINS], const option_map *weights, const dataset *d) {
    for (int i = 0; i < weights->n; i++) {
        int domain = dataset_find_domain(d, weights->row[i].key);
        if (domain < 0) return fail_unknown(weights->row[i].key, d);
        if (!(weights->row[i].value >= 0 && isfinite(weights->row[i].value)))
            FAIL(LAMP_INVALID, "mixture.%s: expected a weight of 0 or more, found %g", weights->row[i].key, weights->row[i].value);
        weight[domain] = weights->row[i].value;
    }
    return LAMP_OK;
}

int mixture_resolve(double probability[DATASET_DOMAINS], const option_map *weights, const dataset *d, int64_t shortest) {
    double sum = 0;
    memset(probability, 0, DATASET_DOMAINS * sizeof *probability);
    if (weights->n > 0) TRY(read_weights(probability, weights, d));
    for (int i = 0; i < d->n_domains; i++) {
        const domain_summary *domain = &d->domain[i].summary;
        if (weights->n == 0) probability[i] = sqrt((double)domain->train_tokens);
        if (probability[i] > 0 && domain->train_tokens < shortest) {
            log_warning("domain %s is left out: its %lld training tokens do not fill one sequence (%lld tokens)", domain->name,
                        (long long)domain->train_tokens, (long long)shortest);
            probability[i] = 0;
        }
        sum += probability[i];
    }
    if (!(sum > 0 && isfinite(sum)))
        FAIL(LAMP_INVALID, "the mixture is empty: no domain has a weight above 0 and %lld training tokens for one sequence", (long long)shortest);
    for (int i = 0; i < d->n_domains; i++) probability[i] /= sum;
    return LAMP_OK;
}
