#include "formats/stored_group.h"

#include <string.h>

#include "base/error.h"
#include "kernels/kernels.h"

ptrdiff_t stored_group_row(ptrdiff_t pair_head, ptrdiff_t r) {
    if (pair_head == 0) return r;
    const ptrdiff_t half = pair_head / 2, in_head = r % pair_head;
    return r - in_head + 2 * (in_head % half) + in_head / half;
}

ptrdiff_t stored_group_row_back(ptrdiff_t pair_head, ptrdiff_t r) {
    if (pair_head == 0) return r;
    const ptrdiff_t half = pair_head / 2, in_head = r % pair_head;
    return r - in_head + in_head / 2 + in_head % 2 * half;
}

int stored_group_copy(void *rows, const stored_group *g, ptrdiff_t first, ptrdiff_t n, ptrdiff_t in) {
    const ptrdiff_t bytes = stored_row_bytes(g->type, in);
    if (g->copy) return g->copy(rows, g, first, n, in);
    if (g->pair_head == 0) memcpy(rows, (const char *)g->bytes + first * bytes, (size_t)(n * bytes));
    else
        for (ptrdiff_t r = 0; r < n; r++)
            memcpy((char *)rows + r * bytes, (const char *)g->bytes + stored_group_row(g->pair_head, first + r) * bytes, (size_t)bytes);
    return LAMP_OK;
}

static int read_as_its_format(real *values, const stored_group *g, ptrdiff_t first, ptrdiff_t n, ptrdiff_t in) {
    if (g->pair_head == 0) return g->read(values, g, first * in, n * in);
    for (ptrdiff_t r = 0; r < n; r++) TRY(g->read(values + r * in, g, stored_group_row(g->pair_head, first + r) * in, in));
    return LAMP_OK;
}

int stored_group_read(real *values, const stored_group *g, ptrdiff_t first, ptrdiff_t n, ptrdiff_t in) {
    enum { AT_ONCE = 256 };
    if (!g->bytes) return read_as_its_format(values, g, first, n, in);
    if (g->type == STORED_REAL) return stored_group_copy(values, g, first, n, in);
    for (ptrdiff_t done = 0; done < n; done += AT_ONCE) {
        int32_t row[AT_ONCE];
        const ptrdiff_t here = n - done < AT_ONCE ? n - done : AT_ONCE;
        for (ptrdiff_t r = 0; r < here; r++) row[r] = (int32_t)stored_group_row(g->pair_head, first + done + r);
        kernels_scalar.stored_rows(values + done * in, g->bytes, g->type, row, here, in);
    }
    return LAMP_OK;
}
