/* What the experts of a layer specialise in, for people. */
#ifndef PRINT_PROFILES_H
#define PRINT_PROFILES_H

#include "inspect/ablation.h"
#include "inspect/profile.h"

/* Of more than 64 experts, the eight with most and the eight with least to do, unless all are wanted. without may be NULL. */
int print_profiles(profiles *p, const ablation *without, bool all);

/* As part of an HTML page: a row for each expert, with what it is for and the tokens it likes most. */
int append_profiles_table(buffer *out, profiles *p);

#endif
