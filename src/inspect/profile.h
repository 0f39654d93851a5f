/* Profiles of experts: what each of them likes, the places where it weighs most (as in table 9 of the paper of 2017), whom it works with, and
 * its speciality, if it has one that can be named.
 *
 * A domain, a class of tokens or a range of positions names a speciality if it makes half of the expert's pairs, 1.5 times its share, and the
 * lift is no chance: z above a threshold that allows one mistake in a hundred inspections over all values of all experts, a fourth of it to
 * each feature (inspect/affinity.h). Tokens name it together: those of lift 2 that are no chance either, if they make a third of the pairs.
 * What says most wins, by share times log2(lift); but a class, domain or range that says two thirds of what the tokens say is the simpler name,
 * and is taken unless the tokens are one or two. */
#ifndef PROFILE_H
#define PROFILE_H

#include "inspect/affinity.h"
#include "inspect/information.h"

enum { PROFILE_LIKED = 8, PROFILE_CONTEXTS = 3, PROFILE_PARTNERS = 4 };

typedef struct {
    int feature;   /* FEATURES: none that can be named */
    int values, n; /* how many name it together; n of them are listed */
    int32_t value[PROFILE_LIKED];
    double share, lift; /* of all of them */
} speciality;

typedef struct {
    int expert;
    int64_t count;
    double lift; /* over what the loads alone would give */
} partner;

typedef struct {
    int expert;
    ptrdiff_t pairs;
    speciality speciality;
    struct {
        int n;
        affinity liked[PROFILE_LIKED]; /* of lift above 1 */
    } likes[FEATURES];
    int n_contexts, n_partners;
    ptrdiff_t context[PROFILE_CONTEXTS]; /* pairs of the routed text; none where all weights are equal, and say nothing */
    partner partners[PROFILE_PARTNERS];
} profile;

typedef struct {
    const routed_text *r;
    features features;
    affinities likes[FEATURES];
    information_report information;
    double threshold[FEATURES]; /* z, over all values of a feature and all experts */
    int64_t *met;     /* (E) scratch */
} profiles;

int profiles_open(profiles *p, const routed_text *r, const tokenizer *words);
void profiles_close(profiles *p);
void profile_make(profile *of, profiles *p, int expert);

/* The tokens around one, of its window and its document: first .. end; and the text of such a run. */
void profiles_find_context(const profiles *p, ptrdiff_t token, ptrdiff_t *first, ptrdiff_t *end);
void profiles_append_text(buffer *out, const profiles *p, ptrdiff_t first, ptrdiff_t end);

/* So few windows that no lift could be told from chance. */
bool profiles_too_little_text(const profiles *p);

#endif
