/* Merging neighbouring symbols, lowest rank first, leftmost on ties, until no merge applies. */
#ifndef MERGING_H
#define MERGING_H

#include "text/heap.h"
#include "text/tokenizer.h"

typedef struct {
    int32_t id; /* SWALLOWED: merged into a symbol to its left */
    size_t previous, next;
} symbol;

/* Room for long pieces. Zero-initialise it. */
typedef struct {
    symbol *symbols;
    size_t capacity;
    heap candidates; /* (rank, position of the left symbol); some are out of date */
} merging_room;

void merging_room_release(merging_room *room);

/* The *n symbols of a piece become fewer, in place. */
int merge_symbols(int32_t *ids, size_t *n, const tokenizer *t, merging_room *room);

#endif
