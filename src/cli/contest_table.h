/* A contest as a person reads it in a terminal: what each model is, where it stands after the same seconds, FLOPs and tokens, and what memory
 * buys. */
#ifndef CONTEST_TABLE_H
#define CONTEST_TABLE_H

#include "base/buffer.h"
#include "base/human.h"
#include "budget/contest.h"

void contest_table(buffer *out, const contest *c);

/* "210 s", "3.02 TFLOP", "2.46M tokens" */
const char *contest_spent(char text[HUMAN_BYTES], spending by, double spent);

#endif
