/* What the models of a contest are called: by the one setting in which they differ, as in "router.experts=8"; where they differ in more, by their
 * folders, without what all paths share and without the seed: runs/dense/seed-1 and runs/dense/seed-2 are "dense". */
#ifndef MODEL_NAMES_H
#define MODEL_NAMES_H

#include "budget/contest.h"

void model_names_choose(contestant *models, int n);

#endif
