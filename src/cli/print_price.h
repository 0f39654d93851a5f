/* What `lamp inspect` says of a model's sizes and its price, as text and as JSON. */
#ifndef PRINT_PRICE_H
#define PRINT_PRICE_H

#include "base/json.h"
#include "budget/price.h"

void print_sizes(const model *m, const model_price *p); /* on a dozen lines */
void print_price(const model_price *p);                 /* the rest, in tables */
void put_price(json_writer *w, const model *m, const model_price *p);

#endif
