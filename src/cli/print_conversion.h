/* What lamp convert and lamp quantize say of a conversion: what each part became and lost. */
#ifndef PRINT_CONVERSION_H
#define PRINT_CONVERSION_H

#include "base/json.h"
#include "formats/conversion.h"

void print_conversion(const conversion *c, const char *out);
void put_conversion(json_writer *w, const conversion *c, const conversion_request *q); /* members of an object that is open */

#endif
