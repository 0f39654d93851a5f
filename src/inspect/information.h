/* What a layer's choice of experts depends on: the mutual information, over pairs, of the expert with each feature of the token,
 *
 *     I(E; X) = sum over e, x of p(e, x) log2(p(e, x) / (p(e) p(x)))
 *
 * Counts of a finite text show some even where there is none, and the more so the more values X has: with thousands of tokens a correction by
 * the number of cells (Miller and Madow 1955) fails, since most cells are nearly empty. So what chance gives is measured: the feature's values
 * change places at random (seeded), 30 times, which keeps both distributions and destroys what ties them. The share is the adjusted mutual
 * information of Vinh, Epps and Bailey (2010, JMLR 11:2837), (I - chance) / (most - chance): 0 for independence, 1 where the feature decides.
 * `most` is what the place itself, with all that stands before it, says: H(E) less what remains where a token takes several experts.
 *
 * Text is not drawn token by token: a window has one domain, so domains change places by whole windows. And domains differ in their tokens, so an
 * expert of commas knows something of domains; "domain beyond token", I(E; X | token), is what is left among equal tokens: there domains change
 * places between them only. */
#ifndef INFORMATION_H
#define INFORMATION_H

#include "inspect/features.h"

enum { INFORMATION_TOKEN, INFORMATION_CLASS, INFORMATION_DOMAIN, INFORMATION_BEYOND, INFORMATION_POSITION, INFORMATIONS };

typedef struct {
    double bits;              /* as counted */
    double chance, deviation; /* the mean and standard deviation of the same after shuffling */
    double share;             /* adjusted; 0 unless bits are more than five deviations above chance */
} information;

typedef struct {
    information of[INFORMATIONS];
    double entropy, most; /* H(E), and what any feature could say of it, in bits */
} information_report;

extern const char *const information_names[INFORMATIONS];

int information_measure(information_report *report, const features *f);

/* Is it syntax (which token it is) or topic (which domain, alone or among equal tokens)? A sentence that says which and by what rule. */
const char *information_verdict(const information_report *report);

/* I(E; value of the token's place) in bits, as counted, of a feature with that many values. */
int information_count(double *bits, const routed_text *r, const int32_t *value, ptrdiff_t values);

#endif
