/* How well a run predicts against what it has spent. Between two milestones a score is linear in the logarithm of what was spent, as learning
 * curves nearly are. */
#ifndef LEARNING_CURVE_H
#define LEARNING_CURVE_H

#include <stddef.h>

typedef enum { SPENT_SECONDS, SPENT_FLOPS, SPENT_TOKENS, SPENDINGS } spending;
typedef enum { SCORE_LOSS, SCORE_BITS, SCORES } score_kind; /* nats per token; bits per byte */

typedef struct {
    double spent[SPENDINGS], score[SCORES];
} milestone;

typedef struct {
    size_t n, room;
    milestone *at; /* (n) in the order of steps */
} learning_curve;

int curve_add(learning_curve *c, const milestone *m);
void curve_release(learning_curve *c);

/* Makes them at most so many: neighbours become their mean. */
void curve_thin(learning_curve *c, size_t most);

/* 0 if there is nothing. */
double curve_end(const learning_curve *c, spending by);

/* NAN before the first milestone and after the last. */
double curve_score(const learning_curve *c, spending by, double spent, score_kind what);

/* What was spent when the loss first was this low; NAN: it was so from the first milestone on, or never. */
double curve_spent(const learning_curve *c, spending by, double loss);

/* How many times less `mine` spends than `theirs` for the same loss: whichever has the lower loss after `spent` is asked when it had the loss
 * that the other has then. Below 1: it spends more. NAN: outside the curves. */
double curve_ratio(const learning_curve *mine, const learning_curve *theirs, spending by, double spent);

#endif
