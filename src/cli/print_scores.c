#include "cli/print_scores.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void print_score(const char *name, const score *s) {
    char bits[32] = "-";
    if (isfinite(score_bits_per_byte(s))) snprintf(bits, sizeof bits, "%.4f", score_bits_per_byte(s));
    printf("%-20s %10.4f %12.2f %14s %10lld\n", name, score_loss(s), score_perplexity(s), bits, (long long)s->tokens);
}

void print_scores(const evaluation *e) {
    printf("%-20s %10s %12s %14s %10s\n", "domain", "loss", "perplexity", "bits per byte", "tokens");
    for (int i = 0; i < e->n_domains; i++) print_score(e->domain[i].name, &e->domain[i].score);
    if (e->n_domains != 1) print_score("all", &e->total);
    if (e->total.unknown > 0)
        printf("%.2f %% of the tokens are words outside the vocabulary: nothing spells them, so there are no bits per byte\n",
               100 * (double)e->total.unknown / (double)e->total.tokens);
}

/* A bar per expert, its height the load over the mean: . for none, full at twice the mean. */
static void print_bars(const int64_t *load, int experts) {
    static const char *const bars[] = {".", "\u2581", "\u2582", "\u2583", "\u2584", "\u2585", "\u2586", "\u2587", "\u2588"};
    double total = 0;
    for (int e = 0; e < experts; e++) total += (double)load[e];
    for (int e = 0; e < experts && e < 64; e++) {
        double over_mean = total > 0 ? (double)load[e] * experts / total : 0;
        int height = load[e] == 0 ? 0 : 1 + (int)(over_mean * 3.5);
        fputs(bars[height > 8 ? 8 : height], stdout);
    }
    if (experts > 64) fputs("...", stdout);
}

void print_routing(const moe_trace *trace) {
    printf("%-6s %9s %8s %14s %8s %6s %8s   load of each expert\n", "layer", "max/mean", "load CV", "importance CV", "entropy", "dead", "dropped");
    for (int l = 0; l < trace->layers; l++) {
        moe_summary s = moe_trace_summarize(trace, l);
        if (s.load_max_over_mean == 0) continue; /* a dense layer */
        printf("%-6d %9.2f %8.2f %14.2f %8.3f %6d %7.1f%%   ", l, s.load_max_over_mean, s.load_cv, s.importance_cv, s.entropy, s.dead, 100 * s.dropped);
        print_bars(trace->load + (ptrdiff_t)l * trace->experts, trace->experts);
        putchar('\n');
    }
}
