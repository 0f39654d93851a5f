#include "text/heap.h"

#include "base/error.h"
#include "base/memory.h"

void heap_release(heap *h) {
    memory_free(h->entries);
    *h = (heap){0};
}

static bool before(heap_entry a, heap_entry b) { return a.major != b.major ? a.major < b.major : a.minor < b.minor; }

int heap_push(heap *h, heap_entry entry) {
    TRY(memory_reserve(&h->entries, &h->capacity, h->n + 1, sizeof *h->entries, "a heap"));
    size_t i = h->n++;
    for (; i > 0 && before(entry, h->entries[(i - 1) / 2]); i = (i - 1) / 2) h->entries[i] = h->entries[(i - 1) / 2];
    h->entries[i] = entry;
    return LAMP_OK;
}

bool heap_pop(heap_entry *smallest, heap *h) {
    if (h->n == 0) return false;
    *smallest = h->entries[0];
    heap_entry last = h->entries[--h->n];
    size_t i = 0;
    for (size_t child = 1; child < h->n; child = 2 * i + 1) {
        if (child + 1 < h->n && before(h->entries[child + 1], h->entries[child])) child++;
        if (!before(h->entries[child], last)) break;
        h->entries[i] = h->entries[child];
        i = child;
    }
    h->entries[i] = last;
    return true;
}
