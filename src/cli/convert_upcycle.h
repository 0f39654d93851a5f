/* lamp convert MODEL OUT --upcycle: a dense model becomes a mixture of experts, with a receipt: both run on the same tokens, the mixture
 * from the files just written, before it may have its name. The receipt is what is printed, and OUT/receipt.json. */
#ifndef CONVERT_UPCYCLE_H
#define CONVERT_UPCYCLE_H

#include <stdbool.h>

#include "models/upcycle.h"

typedef struct {
    const char *dense, *out, *family, *text;
    upcycle_options how;
} upcycle_request;

int convert_upcycle(const upcycle_request *q, bool json);

#endif
