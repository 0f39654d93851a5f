/* A contest as a person reads it in a terminal: what each model is, where it stands after the same seconds, FLOPs and tokens, and what memory
 * buys. */
#ifndef CONTEST_TABLE_H
#define CONTEST_TABLE_H

#include "base/buffer.h"
#include "budget/contest.h"

void contest_table(buffer *out, const contest *c);

#endif
