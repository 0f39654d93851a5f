/* Problems of one kind, told together: whoever has ten mistakes in a file learns of ten, not of the first ten times over. */
#ifndef PROBLEMS_H
#define PROBLEMS_H

#include "base/buffer.h"

enum { PROBLEMS_LISTED = 10 };

typedef struct {
    int n, status; /* how many; what the first returned */
    buffer text;   /* what they said, a line each, of those that are listed */
} problem_list;

/* Keeps what a call said that failed; one that succeeded is no problem. */
void problems_add(problem_list *p, int status);

/* LAMP_OK if there was none; else the status of the first, and the sentences of all. Releases p. */
int problems_end(problem_list *p);

#endif
