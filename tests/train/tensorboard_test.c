/* What TensorBoard is given: records as TFRecord frames them, read here by other code than wrote them, and the numbers of metrics.jsonl in
 * them, each step once although the run went back to a checkpoint. tools/tensorboard_check.py asks TensorBoard itself. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "../world.h"
#include "base/error.h"
#include "base/json.h"
#include "train/run_logs.h"
#include "train/tensorboard.h"
#include "train/train.h"

/* ---- a reader ------------------------------------------------------------------------------------------------------------------------ */

static uint32_t crc32c(const unsigned char *bytes, size_t length) {
    uint32_t table[256], crc = 0xFFFFFFFF;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++) table[i] = table[i] & 1 ? table[i] >> 1 ^ 0x82F63B78 : table[i] >> 1;
    }
    while (length--) crc = crc >> 8 ^ table[(crc ^ *bytes++) & 0xFF];
    return crc ^ 0xFFFFFFFF;
}

static uint64_t fixed(const unsigned char *bytes, int n) {
    uint64_t x = 0;
    while (n--) x = x << 8 | bytes[n];
    return x;
}

static bool has_sum(const unsigned char *bytes, size_t length, uint64_t found) {
    uint32_t back = (uint32_t)found - 0xA282EAD8; /* unmasked: turned left by fifteen again */
    return (back << 15 | back >> 17) == crc32c(bytes, length);
}

typedef struct {
    int number;
    uint64_t value;             /* a number's bits, or the length of bytes */
    const unsigned char *bytes; /* NULL for numbers */
} field;

static uint64_t varint(const unsigned char **at) {
    uint64_t x = 0;
    for (int shift = 0;; shift += 7, (*at)++) {
        x |= (uint64_t)(**at & 0x7F) << shift;
        if (!(*(*at)++ & 0x80)) return x;
        (*at)--;
    }
}

static field next_field(const unsigned char **at) {
    uint64_t key = varint(at);
    field f = {.number = (int)(key >> 3)};
    switch (key & 7) {
    case 0: f.value = varint(at); break;
    case 1: f.value = fixed(*at, 8), *at += 8; break;
    case 2: f.value = varint(at), f.bytes = *at, *at += f.value; break;
    case 5: f.value = fixed(*at, 4), *at += 4; break;
    default: EXPECT(false, "layout %d", (int)(key & 7));
    }
    return f;
}

enum { MOST_STEPS = 64 };

/* What was read, as TensorBoard would have it. */
typedef struct {
    int records, files, starts;
    float loss[MOST_STEPS];    /* by step */
    int times[MOST_STEPS];     /* that a loss was said of it and not superseded */
    buffer tags;               /* a line for each value */
} reading;

static void read_value(reading *r, uint64_t step, const unsigned char *at, const unsigned char *end) {
    char tag[160] = "";
    float number = NAN;
    while (at < end) {
        field f = next_field(&at);
        if (f.number == 1) snprintf(tag, sizeof tag, "%.*s", (int)f.value, (const char *)f.bytes);
        if (f.number == 2) memcpy(&number, &(uint32_t){(uint32_t)f.value}, sizeof number);
    }
    EXPECT(*tag, "no tag");
    if (!strcmp(tag, "train/loss") && step < MOST_STEPS) r->loss[step] = number, r->times[step]++;
    buffer_printf(&r->tags, "%s\n", tag);
}

static void read_event(reading *r, const unsigned char *at, const unsigned char *end) {
    uint64_t step = 0;
    double time = 0;
    while (at < end) {
        field f = next_field(&at);
        const unsigned char *inner = f.bytes, *inner_end = f.bytes + f.value;
        if (f.number == 1) memcpy(&time, &f.value, sizeof time);
        if (f.number == 2) step = f.value;
        if (f.number == 3) EXPECT(r->records == 0 && f.value == 13 && !memcmp(f.bytes, "brain.Event:2", 13), "record %d says its version", r->records);
        if (f.number == 7) {
            EXPECT(f.value == 2 && f.bytes[0] == 8 && f.bytes[1] == 1, "not a start");
            r->starts++;
            for (uint64_t i = step; i < MOST_STEPS; i++) r->times[i] = 0;
        }
        while (f.number == 5 && inner < inner_end) {
            field value = next_field(&inner);
            EXPECT(value.number == 1, "field %d of a summary", value.number);
            read_value(r, step, value.bytes, value.bytes + value.value);
        }
    }
    EXPECT(time > 1.5e9 && time < 1e11, "time %g", time);
}

static int read_file(void *context, const char *path) {
    reading *r = context;
    mapped_file map;
    EXPECT_OK(file_map(&map, path));
    r->files++, r->records = 0;
    for (size_t at = 0; at < map.length; r->records++) {
        const unsigned char *record = map.bytes + at;
        EXPECT(map.length - at > 16, "%zu bytes at the end", map.length - at);
        uint64_t length = fixed(record, 8);
        EXPECT(length <= map.length - at - 16, "a record of %llu bytes", (unsigned long long)length);
        EXPECT(has_sum(record, 8, fixed(record + 8, 4)) && has_sum(record + 12, length, fixed(record + 12 + length, 4)), "sums of record %d", r->records);
        read_event(r, record + 12, record + 12 + length);
        at += 16 + length;
    }
    file_unmap(&map);
    return LAMP_OK;
}

/* ---- cases --------------------------------------------------------------------------------------------------------------------------- */

static void our_reader_knows_the_sum(void) {
    EXPECT(crc32c((const unsigned char *)"123456789", 9) == 0xE3069283, "found %08x", crc32c((const unsigned char *)"123456789", 9));
    EXPECT(crc32c((const unsigned char[32]){0}, 32) == 0x8A9136AA, "of 32 zeros"); /* RFC 3720, B.4 */
}

/* As if it had been killed: nothing of it was saved after its last checkpoint. */
static void break_from_step_six(void *context, trainer *tr) {
    (void)context;
    const weights *table = &tr->model.weights;
    for (int i = 0; i < table->n && tr->step == 6; i++)
        if (!strcmp(table->row[i]->kind, "norm")) table->values[table->row[i]->offset] = NAN;
}

static void a_run_that_goes_back_says_each_step_once(void) {
    char run[PATH_BYTES], folder[PATH_BYTES];
    train_report report;
    reading found = {0};
    log_reader metrics = {0};
    recipe r = world_recipe("olmoe");
    r.tensorboard = true, r.checkpoint_every = 4, r.steps = 10, r.telemetry_every = r.probe_every = 2;
    EXPECT_ERROR(train_run(&report, &r, world_path(run, "broken"), "test", &(train_watcher){.stepping = break_from_step_six}), LAMP_DIVERGED, "");
    EXPECT_OK(train_run(&report, &r, run, "test", &(train_watcher){0}));
    EXPECT_OK(file_join(folder, run, "tensorboard"));
    EXPECT_OK(file_walk(folder, read_file, &found));
    EXPECT(found.files == 2 && found.starts == 2, "%d files, %d starts", found.files, found.starts);
    static const char *const there[] = {"probe/churn/layer_01\n", "validation_bits_per_byte/all\n", "validation_loss/domain/stone\n",
                                        "routing/load_cv/layer_01\n", "balance/switch_loss\n"};
    for (int i = 0; i < 5; i++) EXPECT(strstr(found.tags.bytes, there[i]), "%s is not there", there[i]);
    buffer_release(&found.tags);
    EXPECT_OK(log_open(&metrics, run, "metrics.jsonl"));
    int steps = 0;
    for (; metrics.line; log_next(&metrics)) {
        if (!log_is(&metrics, "step")) continue;
        steps++;
        EXPECT(found.loss[metrics.step] == (float)log_number(&metrics, "loss") && found.times[metrics.step] == 1, "step %d: %g, %d times",
               (int)metrics.step, (double)found.loss[metrics.step], found.times[metrics.step]);
    }
    EXPECT(steps == 10, "%d steps", steps);
    log_close(&metrics);
}

static void without_the_wish_there_is_none(void) {
    char run[PATH_BYTES], folder[PATH_BYTES];
    train_report report;
    recipe r = world_recipe("olmoe");
    r.steps = 1;
    EXPECT_OK(train_run(&report, &r, world_path(run, "plain"), "test", &(train_watcher){0}));
    EXPECT_OK(file_join(folder, run, "tensorboard"));
    EXPECT(!file_exists(folder), "there is");
    r.tensorboard = true; /* is no other recipe */
    EXPECT_OK(train_run(&report, &r, run, "test", &(train_watcher){0}));
    EXPECT(file_exists(folder), "there is none");
}

static void many_layers_are_three_series(void) {
    enum { LAYERS = EACH_LAYER + 1 };
    char path[PATH_BYTES];
    tensorboard t = {0};
    moe_trace trace = {0};
    reading found = {0};
    EXPECT_OK(moe_trace_open(&trace, LAYERS, 4));
    for (int l = 1; l < LAYERS; l++) trace.load[4 * l] = 4 * l, trace.pairs[l] = 4 * l, trace.importance[4 * l] = 1;
    EXPECT_OK(tensorboard_open(&t, world_path(path, "layers")));
    EXPECT_OK(tensorboard_add_routing(&t, 3, &trace));
    tensorboard_close(&t);
    EXPECT_OK(file_walk(path, read_file, &found));
    static const char *const there[] = {"routing/dead/least\n", "routing/dead/median\n", "routing/dead/largest\n"};
    for (int i = 0; i < 3; i++) EXPECT(strstr(found.tags.bytes, there[i]), "%s is not there", there[i]);
    EXPECT(!strstr(found.tags.bytes, "layer_") && !strstr(found.tags.bytes, "logit_norm"), "too much is there:\n%s", found.tags.bytes);
    buffer_release(&found.tags);
    moe_trace_close(&trace);
}

static const test_case cases[] = {
    {"our reader knows the sum", our_reader_knows_the_sum},
    {"a run that goes back says each step once", a_run_that_goes_back_says_each_step_once},
    {"without the wish there is none", without_the_wish_there_is_none},
    {"many layers are three series", many_layers_are_three_series},
};

int main(void) { return test_run("tensorboard", cases, sizeof cases / sizeof *cases); }
