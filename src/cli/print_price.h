/* What `lamp inspect` says of a model's sizes and its price, as text and as JSON. */
#ifndef PRINT_PRICE_H
#define PRINT_PRICE_H

#include "base/json.h"
#include "budget/price.h"
#include "budget/stored_bytes.h"

void print_sizes(const model *m, const model_price *p); /* on a dozen lines */
void print_price(const model_price *p);                 /* the rest, in tables */
void put_price(json_writer *w, const model *m, const model_price *p);

/* What its files hold; put_stored is a member of an object that is open. */
void print_stored(const stored_bytes *s);
void put_stored(json_writer *w, const stored_bytes *s);

#endif
