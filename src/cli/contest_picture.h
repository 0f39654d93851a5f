/* A contest as a picture: loss against seconds, FLOPs and tokens, side by side; a line a model, the mean of its seeds, in a band from the best to
 * the worst of them; dashed, the budget where they are compared. Plain SVG. */
#ifndef CONTEST_PICTURE_H
#define CONTEST_PICTURE_H

#include "base/buffer.h"
#include "budget/contest.h"

void contest_picture(buffer *svg, const contest *c);

#endif
