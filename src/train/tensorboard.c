#include "train/tensorboard.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "health/telemetry.h"
#include "moe/moe.h"

/* ---- records ------------------------------------------------------------------------------------------------------------------ */

/* Castagnoli's polynomial, bits reversed. Records are a few kilobytes a step: a table would not be noticed. */
static uint32_t crc32c(const void *bytes, size_t length) {
    uint32_t crc = ~0u;
    for (const unsigned char *b = bytes; length > 0; b++, length--) {
        crc ^= *b;
        for (int i = 0; i < 8; i++) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    return ~crc;
}

/* So that the sum of bytes that hold sums is no special case (LevelDB). */
static uint32_t masked(uint32_t crc) { return (crc >> 15 | crc << 17) + 0xA282EAD8u; }

static void put_fixed(buffer *out, uint64_t x, int bytes) {
    for (int i = 0; i < bytes; i++) buffer_append_byte(out, (char)(x >> 8 * i));
}

static void put_varint(buffer *out, uint64_t x) {
    for (; x >= 0x80; x >>= 7) buffer_append_byte(out, (char)(x | 0x80));
    buffer_append_byte(out, (char)x);
}

/* How a field's value is laid out. */
enum { VARINT = 0, EIGHT_BYTES = 1, LENGTH_FIRST = 2, FOUR_BYTES = 5 };
static void put_key(buffer *out, int field, int layout) { put_varint(out, (uint64_t)(field << 3 | layout)); }

static void put_bytes(buffer *out, int field, const void *bytes, size_t length) {
    put_key(out, field, LENGTH_FIRST);
    put_varint(out, length);
    if (length > 0) buffer_append(out, bytes, length);
}

static void put_integer(buffer *out, int field, int64_t x) {
    put_key(out, field, VARINT);
    put_varint(out, (uint64_t)x);
}

static void put_float(buffer *out, int field, double x) {
    float narrow = (float)x;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    put_key(out, field, FOUR_BYTES);
    put_fixed(out, bits, 4);
}

static void put_double(buffer *out, int field, double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    put_key(out, field, EIGHT_BYTES);
    put_fixed(out, bits, 8);
}

static void begin_event(tensorboard *t) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    buffer_clear(&t->event);
    put_double(&t->event, 1, (double)now.tv_sec + 1e-9 * (double)now.tv_nsec);
}

static int end_event(tensorboard *t) {
    buffer *record = &t->value;
    TRY(t->event.status);
    buffer_clear(record);
    put_fixed(record, t->event.length, 8);
    put_fixed(record, masked(crc32c(record->bytes, record->length)), 4);
    buffer_append(record, t->event.bytes, t->event.length);
    put_fixed(record, masked(crc32c(t->event.bytes, t->event.length)), 4);
    TRY(record->status);
    if (fwrite(record->bytes, 1, record->length, t->file) != record->length || fflush(t->file))
        FAIL(LAMP_IO, "cannot append to the run's TensorBoard events: %s", strerror(errno));
    return LAMP_OK;
}

/* ---- files -------------------------------------------------------------------------------------------------------------------- */

/* TensorBoard reads a folder's files in the order of their names. */
int tensorboard_open(tensorboard *t, const char *run) {
    struct timespec now;
    char folder[PATH_BYTES], path[PATH_BYTES], name[64];
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(name, sizeof name, "events.out.tfevents.%010lld.%09ld", (long long)now.tv_sec, now.tv_nsec);
    TRY(file_join(folder, run, "tensorboard"));
    TRY(file_make_folder(folder));
    TRY(file_join(path, folder, name));
    if (!(t->file = fopen(path, "wxe"))) FAIL(LAMP_IO, "%s: cannot create: %s", path, strerror(errno));
    begin_event(t);
    put_bytes(&t->event, 3, "brain.Event:2", 13);
    return end_event(t);
}

void tensorboard_close(tensorboard *t) {
    if (t->file) fclose(t->file);
    buffer_release(&t->event);
    buffer_release(&t->summary);
    buffer_release(&t->value);
    memory_free(t->sorted);
    *t = (tensorboard){0};
}

int tensorboard_go_on(tensorboard *t, int64_t step) {
    enum { START = 1 };
    if (!t->file) return LAMP_OK;
    begin_event(t);
    put_integer(&t->event, 2, step + 1);
    buffer_clear(&t->value);
    put_integer(&t->value, 1, START);
    put_bytes(&t->event, 7, t->value.bytes, t->value.length);
    return end_event(t);
}

/* ---- numbers ------------------------------------------------------------------------------------------------------------------ */

static void add(tensorboard *t, double number, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void add(tensorboard *t, double number, const char *format, ...) {
    char tag[160];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(tag, sizeof tag, format, arguments);
    va_end(arguments);
    buffer_clear(&t->value);
    put_bytes(&t->value, 1, tag, strlen(tag));
    put_float(&t->value, 2, number);
    put_bytes(&t->summary, 1, t->value.bytes, t->value.length);
    if (t->value.status < 0) t->summary.status = t->value.status;
}

static int end_summary(tensorboard *t, int64_t step) {
    if (t->summary.length == 0) return t->summary.status;
    begin_event(t);
    put_integer(&t->event, 2, step);
    TRY(t->summary.status);
    put_bytes(&t->event, 5, t->summary.bytes, t->summary.length);
    buffer_clear(&t->summary);
    return end_event(t);
}

int tensorboard_add_step(tensorboard *t, const step_report *report) {
    if (!t->file) return LAMP_OK;
    add(t, report->loss, "train/loss");
    add(t, report->gradient_norm, "train/gradient_norm");
    add(t, report->learning_rate, "train/learning_rate");
    add(t, report->tokens_per_second, "train/tokens_per_second");
    for (int i = 0; i < BALANCE_LOSSES; i++) add(t, report->balance_loss[i], "balance/%s_loss", balance_terms[i].name);
    return end_summary(t, report->step);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int make_room(tensorboard *t, int layers) {
    return t->sorted ? LAMP_OK : memory_new(&t->sorted, (size_t)layers * (LAYER_NUMBERS + 1), sizeof *t->sorted, "numbers of layers");
}

/* x (layers), NAN where there is nothing to say. */
static void add_layers(tensorboard *t, const char *name, const double *x, int layers) {
    int n = 0;
    if (layers <= EACH_LAYER) {
        for (int l = 0; l < layers; l++)
            if (!isnan(x[l])) add(t, x[l], "%s/layer_%02d", name, l);
        return;
    }
    for (int l = 0; l < layers; l++)
        if (!isnan(x[l])) t->sorted[n++] = x[l];
    if (n == 0) return;
    qsort(t->sorted, (size_t)n, sizeof *t->sorted, ascending);
    add(t, t->sorted[0], "%s/least", name);
    add(t, t->sorted[n / 2], "%s/median", name);
    add(t, t->sorted[n - 1], "%s/largest", name);
}

/* A layer that routed nothing is dense. */
int tensorboard_add_routing(tensorboard *t, int64_t step, const moe_trace *trace) {
    int L = trace->layers;
    if (!t->file) return LAMP_OK;
    TRY(make_room(t, L));
    double *x = t->sorted + L; /* (LAYER_NUMBERS, layers) */
    for (int l = 0; l < L; l++) {
        moe_summary s = moe_trace_summarize(trace, l);
        double numbers[LAYER_NUMBERS];
        layer_numbers(numbers, &s);
        for (int i = 0; i < LAYER_NUMBERS; i++) x[i * L + l] = trace->pairs[l] > 0 ? numbers[i] : NAN;
    }
    for (int i = 0; i < LAYER_NUMBERS; i++) {
        char name[64];
        snprintf(name, sizeof name, "routing/%s", layer_number_names[i]);
        add_layers(t, name, x + i * L, L);
    }
    return end_summary(t, step);
}

int tensorboard_add_probe(tensorboard *t, const probe_reading *r) {
    if (!t->file || r->since < 0) return LAMP_OK;
    TRY(make_room(t, r->layers));
    add_layers(t, "probe/churn", r->churn, r->layers);
    add_layers(t, "probe/similarity", r->similarity, r->layers);
    return end_summary(t, r->step);
}

static void add_score(tensorboard *t, const score *s, const char *kind, const char *name) {
    if (s->tokens == 0) return;
    add(t, score_loss(s), "validation_loss/%s%s", kind, name);
    if (s->bytes > 0 && s->unknown == 0) add(t, score_bits_per_byte(s), "validation_bits_per_byte/%s%s", kind, name);
}

int tensorboard_add_evaluation(tensorboard *t, int64_t step, const evaluation *e) {
    if (!t->file) return LAMP_OK;
    add_score(t, &e->total, "all", "");
    for (int i = 0; i < e->n_domains; i++) add_score(t, &e->domain[i].score, "domain/", e->domain[i].name);
    return end_summary(t, step);
}
