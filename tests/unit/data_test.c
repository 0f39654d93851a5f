#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/random.h"
#include "data/dataset_build.h"
#include "data/dedup.h"
#include "data/loader.h"
#include "data/mixture.h"

static void dedup_remembers_every_hash(void) {
    dedup_set set = {0};
    bool is_new;
    for (int round = 0; round < 2; round++)
        for (uint64_t i = 0; i < 5000; i++) {
            EXPECT_OK(dedup_add(&set, (hash128){i % 50, i}, &is_new)); /* crowded: 50 home slots */
            EXPECT(is_new == (round == 0), "hash %d in round %d", (int)i, round);
        }
    EXPECT(set.n == 5000, "%zu hashes", set.n);
    dedup_release(&set);
}

/* ---- datasets ------------------------------------------------------------------------------------------------------------------- */

/* Three domains: 60 distinct documents and 5 copies; 40 lines of JSON of which 3 stand in the first domain too; one short document. */
static void write_texts(void) {
    buffer lines = {0};
    static const char *words[] = {"lamp", "light", "dark", "street", "token", "gate", "expert", "night"};
    for (int i = 0; i < 65; i++) {
        char name[64];
        buffer text = {0};
        int which = i % 60;
        buffer_printf(&text, "prose number %d:", which);
        for (int j = 0; j < 30 + which; j++)
            buffer_printf(&text, " %s", words[random_below(random_key_make(1, RANDOM_SAMPLE, 0, (uint64_t)which), (uint64_t)j, 8)]);
        snprintf(name, sizeof name, "prose/%02d.txt", i);
        test_write_text(name, text.bytes);
        if (i < 3) buffer_printf(&lines, "{\"text\": \"%s\"}\n", text.bytes);
        buffer_release(&text);
    }
    for (int i = 0; i < 37; i++) buffer_printf(&lines, "{\"text\": \"int f%d(int x) { return x * %d + %d; }\\n\"}\n", i, i * i, i % 3);
    test_write("code.jsonl", lines.bytes, lines.length);
    test_write_text("note.txt", "short");
    test_write("prose/picture.png", "\0", 1);
    buffer_release(&lines);
}

static int build(const char *out, dataset_build_report *report) {
    static char paths[4][PATH_BYTES];
    dataset_build_options options;
    dataset_build_defaults(&options);
    const char *names[] = {out, "prose", "code.jsonl", "note.txt"};
    for (int i = 0; i < 4; i++) strcpy(paths[i], test_path(names[i]));
    options.out = paths[0], options.vocabulary_size = 300, options.n_domains = 3;
    options.domain[0].name = "prose", options.domain[0].path = paths[1];
    options.domain[1].name = "code", options.domain[1].path = paths[2];
    options.domain[2].name = "note", options.domain[2].path = paths[3];
    return dataset_build(&options, report);
}

/* The dataset most tests read, built once. */
static dataset *shared_dataset(void) {
    static dataset *d;
    if (!d) {
        dataset_build_report report;
        write_texts();
        EXPECT_OK(build("shared", &report));
        EXPECT_OK(dataset_open(&d, test_path("shared")));
        if (!d) printf("no dataset: %s\n", lamp_error_message()), exit(1);
    }
    return d;
}

/* Hashes of the documents of one side, found again by decoding the text between end-of-text ids. */
static int documents_of(const dataset *d, const shard *s, hash128 *hash, int64_t *bytes) {
    int n = 0;
    int64_t start = 0;
    int32_t *ids = NULL;
    EXPECT_OK(memory_new(&ids, (size_t)s->n, sizeof *ids, "ids"));
    EXPECT_OK(shard_read(ids, s, 0, s->n));
    for (int64_t i = 0; i < s->n; i++) {
        if (ids[i] != tokenizer_end_of_text(d->tokenizer)) continue;
        buffer text = {0};
        EXPECT_OK(tokenizer_decode(d->tokenizer, &text, ids + start, (size_t)(i - start)));
        hash[n++] = hash_bytes(text.bytes, text.length);
        *bytes += (int64_t)text.length;
        start = i + 1;
        buffer_release(&text);
    }
    EXPECT(start == s->n, "the last document has no end");
    memory_free(ids);
    return n;
}

static void dataset_holds_each_document_once(void) {
    const dataset *d = shared_dataset();
    EXPECT(d->n_domains == 3 && dataset_find_domain(d, "note") == 2 && dataset_find_domain(d, "nothing") == -1, "%d domains", d->n_domains);
    static const struct { int documents, duplicates, binary_files; } expected[] = {{60, 5, 1}, {37, 3, 0}, {1, 0, 0}};
    for (int i = 0; i < 3; i++) {
        const domain_summary *summary = &d->domain[i].summary;
        EXPECT(summary->documents == expected[i].documents && summary->duplicates == expected[i].duplicates &&
                   summary->passed_over.binary_files == expected[i].binary_files,
               "%s: %d documents, %d duplicates, %d binary files", summary->name, (int)summary->documents, (int)summary->duplicates,
               (int)summary->passed_over.binary_files);
        hash128 hash[100];
        int64_t bytes = 0;
        int n_train = documents_of(d, &d->domain[i].train, hash, &bytes);
        int n_validation = documents_of(d, &d->domain[i].validation, hash + n_train, &bytes);
        EXPECT(n_train + n_validation == expected[i].documents && bytes == summary->bytes, "%s: %d + %d documents, %d bytes", summary->name, n_train,
               n_validation, (int)bytes);
        EXPECT((n_validation >= 1) == (i < 2) && n_train > n_validation, "%s: %d documents in validation", summary->name, n_validation);
        for (int j = 0; j < n_train + n_validation; j++)
            for (int k = 0; k < j; k++) EXPECT(hash[j].low != hash[k].low, "%s: documents %d and %d are equal", summary->name, j, k);
    }
}

static void expect_same_files(const char *a, const char *b) {
    static const char *names[] = {"manifest.json", "tokenizer.json", "prose.train.tokens", "prose.validation.tokens", "code.train.tokens"};
    for (int i = 0; i < 5; i++) {
        char path[PATH_BYTES];
        mapped_file x, y;
        EXPECT_OK(file_join(path, test_path(a), names[i]));
        EXPECT_OK(file_map(&x, path));
        EXPECT_OK(file_join(path, test_path(b), names[i]));
        EXPECT_OK(file_map(&y, path));
        EXPECT(x.length == y.length && !memcmp(x.bytes, y.bytes, x.length), "%s differs", names[i]);
        file_unmap(&x), file_unmap(&y);
    }
}

static void dataset_does_not_depend_on_threads(void) {
    dataset_build_report report;
    const dataset *d = shared_dataset();
    int threads = omp_get_max_threads();
    omp_set_num_threads(threads > 1 ? 1 : 3);
    EXPECT_OK(build("again/", &report));
    omp_set_num_threads(threads);
    for (int i = 0; i < 3; i++)
        EXPECT(!memcmp(&report.domain[i], &d->domain[i].summary, sizeof *report.domain), "the report on domain %d differs from the dataset", i);
    expect_same_files("shared", "again");
}

static void build_refuses_what_is_wrong(void) {
    dataset_build_options options;
    dataset_build_report report;
    char out[PATH_BYTES], path[PATH_BYTES];
    shared_dataset();
    EXPECT_ERROR(build("shared", &report), LAMP_INVALID, "shared: is already there");
    dataset_build_defaults(&options);
    strcpy(out, test_path("refused")), strcpy(path, test_path("note.txt"));
    options.out = out, options.n_domains = 1, options.domain[0].name = "../note", options.domain[0].path = path;
    EXPECT_ERROR(dataset_build(&options, &report), LAMP_INVALID, "domain \"../note\": expected a name");
    options.n_domains = 2, options.domain[0].name = "note", options.domain[1].name = "note", options.domain[1].path = path;
    EXPECT_ERROR(dataset_build(&options, &report), LAMP_INVALID, "domain note is named twice");
    options.domain[1].name = "copy";
    EXPECT_ERROR(dataset_build(&options, &report), LAMP_INVALID, "domain copy: ");
    EXPECT(strstr(lamp_error_message(), "1 duplicates"), "%s", lamp_error_message());
    test_write_text("bad.jsonl", "{\"text\": \"fine\"}\n{\"text\": 3}\n");
    strcpy(path, test_path("bad.jsonl"));
    options.n_domains = 1;
    EXPECT_ERROR(dataset_build(&options, &report), LAMP_MALFORMED, "domain note: ");
    EXPECT_ERROR(dataset_build(&options, &report), LAMP_MALFORMED, "bad.jsonl: line 2: \"text\": expected text, found an integer; --bad-lines skip ");
    options.n_domains = 2, options.domain[0].path = options.domain[1].path = "-";
    EXPECT_ERROR(dataset_build(&options, &report), LAMP_INVALID, "domains note and copy: standard input can be read once only");
    strcat(strcpy(path, out), ".partial");
    EXPECT(!file_exists(out) && !file_exists(path), "a refused build left files behind");
}

static void build_keeps_bad_lines_if_asked(void) {
    dataset_build_options options;
    dataset_build_report report;
    char out[PATH_BYTES], path[PATH_BYTES];
    mapped_file kept = {0};
    dataset *d = NULL;
    test_write_text("mixed.jsonl", "{\"body\": \"fine\"}\n{\"body\": 3}\n{\"body\": \"\xFF\"}\n{\"body\": \"\"}\n{\"body\": \"good\"}\n");
    dataset_build_defaults(&options);
    strcpy(path, test_path("mixed.jsonl"));
    options.out = out, options.n_domains = 1, options.domain[0].name = "mixed", options.domain[0].path = path, options.field = "body";
    for (int i = 0; i < 2; i++) {
        options.bad_lines = i == 0 ? BAD_LINES_SKIP : BAD_LINES_QUARANTINE;
        strcpy(out, test_path(i == 0 ? "skipped" : "quarantined"));
        EXPECT_OK(dataset_build(&options, &report));
        EXPECT_OK(dataset_open(&d, out));
        const domain_summary *summary = &d->domain[0].summary;
        EXPECT(summary->documents == 2 && summary->passed_over.bad_lines == 2 && summary->passed_over.empty_documents == 1,
               "%d documents, %d bad lines, %d empty", (int)summary->documents, (int)summary->passed_over.bad_lines,
               (int)summary->passed_over.empty_documents);
        dataset_free(d);
    }
    EXPECT(!file_exists(test_path("skipped/quarantine.jsonl")), "skipped lines were kept");
    EXPECT_OK(file_map(&kept, test_path("quarantined/quarantine.jsonl")));
    static const char second[] =
        "column 10: not valid JSON: unable to decode byte 0xff near '\\\"'\", \"content\": \"{\\\"body\\\": \\\"\xEF\xBF\xBD\\\"}\"}\n";
    const char *text = (const char *)kept.bytes;
    EXPECT(kept.length > sizeof second && !memcmp(text + kept.length - sizeof second + 1, second, sizeof second - 1), "%.*s", (int)kept.length, text);
    file_unmap(&kept);
}

/* What changes the text between two passes, when the build says that it is learning a vocabulary. */
static const char *text_at_second_pass;

static void change_text(void *context, log_level level, const char *text) {
    (void)context, (void)level;
    if (strstr(text, "learning a vocabulary")) test_write_text("changing.jsonl", text_at_second_pass);
}

static void text_that_changes_while_it_is_read_is_refused(void) {
    static const char first[] = "{\"text\": \"one\"}\n{\"text\": \"two\"}\n";
    static const char *const second[] = {"{\"text\": \"one\"}\n", "{\"text\": \"one\"}\n{\"text\": \"too\"}\n",
                                         "{\"text\": \"one\"}\n{\"text\": 2}\n", "{\"text\": \"one\"}\n{\"text\": \"two\"}\n{\"text\": \"three\"}\n",
                                         ""};
    dataset_build_options options;
    dataset_build_report report;
    char out[PATH_BYTES], path[PATH_BYTES];
    dataset_build_defaults(&options);
    strcpy(path, test_path("changing.jsonl")), strcpy(out, test_path("changed"));
    options.out = out, options.n_domains = 1, options.domain[0].name = "changing", options.domain[0].path = path;
    for (size_t i = 0; i < sizeof second / sizeof *second; i++) {
        test_write_text("changing.jsonl", first);
        text_at_second_pass = second[i];
        log_set_sink(change_text, NULL);
        EXPECT_ERROR(dataset_build(&options, &report), LAMP_FAILURE, "domain changing: its text changed while it was being read; try again");
        log_set_sink(NULL, NULL);
        EXPECT(!file_exists(out), "change %zu left a dataset behind", i);
    }
}

/* Encoding is near linear in the length of a word: if it were quadratic this would take hours. */
static void a_word_of_five_million_bytes_is_built(void) {
    enum { N = 5000000 };
    dataset_build_options options;
    dataset_build_report report;
    char out[PATH_BYTES], path[PATH_BYTES];
    buffer line = {0};
    hash128 hash[1];
    int64_t bytes = 0;
    dataset *d = NULL;
    buffer_append_text(&line, "{\"text\": \"");
    size_t start = line.length;
    for (int i = 0; i < N; i++) buffer_append_byte(&line, (char)('a' + random_below(random_key_make(2, RANDOM_SAMPLE, 0, 0), (uint64_t)i, 4)));
    hash128 expected = hash_bytes(line.bytes + start, N);
    buffer_append_text(&line, "\"}\n");
    test_write("word.jsonl", line.bytes, line.length);
    dataset_build_defaults(&options);
    strcpy(path, test_path("word.jsonl")), strcpy(out, test_path("word"));
    options.out = out, options.vocabulary_size = 400, options.n_domains = 1, options.domain[0].name = "word", options.domain[0].path = path;
    EXPECT_OK(dataset_build(&options, &report));
    EXPECT_OK(dataset_open(&d, out));
    EXPECT(documents_of(d, &d->domain[0].train, hash, &bytes) == 1 && bytes == N && !memcmp(hash, &expected, sizeof expected),
           "the tokens are not the word: %lld bytes", (long long)bytes);
    EXPECT(d->domain[0].train.n < N / 2, "%lld tokens", (long long)d->domain[0].train.n);
    dataset_free(d), buffer_release(&line);
}

/* ---- malformed datasets --------------------------------------------------------------------------------------------------------- */

static const char *const dataset_files[] = {"manifest.json",     "tokenizer.json",         "prose.train.tokens", "prose.validation.tokens",
                                            "code.train.tokens", "code.validation.tokens", "note.train.tokens",  "note.validation.tokens"};

/* Copies the shared dataset to "broken" and gives back one of its files as a buffer to spoil. */
static buffer copy_to_break(const char *name) {
    buffer chosen = {0};
    shared_dataset();
    for (int i = 0; i < 8; i++) {
        char path[PATH_BYTES], copy[PATH_BYTES];
        mapped_file map;
        EXPECT_OK(file_join(path, test_path("shared"), dataset_files[i]));
        EXPECT_OK(file_map(&map, path));
        EXPECT_OK(file_join(copy, "broken", dataset_files[i]));
        test_write(copy, (const char *)map.bytes, map.length);
        if (!strcmp(name, dataset_files[i])) buffer_append(&chosen, map.bytes, map.length);
        file_unmap(&map);
    }
    return chosen;
}

static void expect_refused(const char *name, buffer *content, int code, const char *text) {
    char path[PATH_BYTES];
    dataset *d;
    EXPECT_OK(file_join(path, "broken", name));
    test_write(path, content->bytes, content->length);
    EXPECT_ERROR(dataset_open(&d, test_path("broken")), code, text);
    EXPECT(!d, "a refused dataset was handed out");
    buffer_release(content);
}

static void expect_manifest_refused(const char *from, const char *to, int code, const char *text) {
    buffer manifest = copy_to_break("manifest.json"), changed = {0};
    const char *at = strstr(manifest.bytes, from);
    EXPECT(at, "the manifest has no %s", from);
    if (at) buffer_printf(&changed, "%.*s%s%s", (int)(at - manifest.bytes), manifest.bytes, to, at + strlen(from));
    buffer_release(&manifest);
    expect_refused("manifest.json", &changed, code, text);
}

static void malformed_datasets_are_refused(void) {
    dataset *d;
    buffer content = copy_to_break("prose.train.tokens");
    content.length -= 2;
    expect_refused("prose.train.tokens", &content, LAMP_MALFORMED, "prose.train.tokens: the header says");
    content = copy_to_break("prose.train.tokens");
    content.length = 20;
    expect_refused("prose.train.tokens", &content, LAMP_MALFORMED, "expected a header of 32 bytes, found 20 bytes");
    content = copy_to_break("code.validation.tokens");
    content.bytes[0] = 'X';
    expect_refused("code.validation.tokens", &content, LAMP_MALFORMED, "does not begin with LAMPTOKS");
    content = copy_to_break("code.validation.tokens");
    content.bytes[8] = 9;
    expect_refused("code.validation.tokens", &content, LAMP_UNSUPPORTED, "version 9");
    content = copy_to_break("code.validation.tokens");
    content.bytes[12] = 4;
    expect_refused("code.validation.tokens", &content, LAMP_MALFORMED, "expected 2 bytes a token");
    content = copy_to_break("code.train.tokens");
    buffer_append(&content, "\0", 2), content.bytes[16]++;
    expect_refused("code.train.tokens", &content, LAMP_MALFORMED, "tokens in");
    content = copy_to_break("tokenizer.json");
    buffer_append_text(&content, "\n");
    expect_refused("tokenizer.json", &content, LAMP_MALFORMED, "not the tokenizer this dataset was made with");
    expect_manifest_refused("\"name\": \"code\"", "\"name\": \"../code\"", LAMP_MALFORMED, "expected a name");
    expect_manifest_refused("\"name\": \"code\"", "\"name\": \"prose\"", LAMP_MALFORMED, "stands there twice");
    expect_manifest_refused("\"name\": \"code\"", "\"name\": \"cobol\"", LAMP_IO, "cobol.train.tokens: cannot open");
    expect_manifest_refused("\"tokens\": ", "\"tokens\": 1", LAMP_MALFORMED, "manifest.json: expected 1");
    expect_manifest_refused("\"vocabulary_size\": ", "\"vocabulary_size\": 1", LAMP_MALFORMED, "expected a vocabulary of 1");
    expect_manifest_refused("\"version\": 1", "\"version\": 2", LAMP_UNSUPPORTED, "version 2");
    expect_manifest_refused("\"domains\": [", "\"domains\": [], \"others\": [", LAMP_MALFORMED, "expected 1 to 64 domains, found 0");
    expect_manifest_refused("{", "[", LAMP_MALFORMED, "not valid JSON");
    EXPECT_ERROR(dataset_open(&d, test_path("prose")), LAMP_IO, "it has no manifest.json");
}

static void a_dataset_made_before_bad_lines_were_counted_opens(void) {
    dataset *d = NULL;
    buffer manifest = copy_to_break("manifest.json");
    for (char *key; (key = strstr(manifest.bytes, "bad_lines"));) memcpy(key, "elsewhere", 9);
    test_write("broken/manifest.json", manifest.bytes, manifest.length);
    EXPECT_OK(dataset_open(&d, test_path("broken")));
    dataset_free(d), buffer_release(&manifest);
}

static void ids_outside_the_vocabulary_are_refused(void) {
    dataset *d;
    batch b;
    loader *l = NULL;
    option_map only_prose = {.n = 1, .row = {{"prose", 1}}};
    buffer content = copy_to_break("prose.train.tokens");
    memset(content.bytes + SHARD_HEADER_BYTES, 0xFF, content.length - SHARD_HEADER_BYTES);
    test_write("broken/prose.train.tokens", content.bytes, content.length);
    EXPECT_OK(dataset_open(&d, test_path("broken")));
    EXPECT_OK(loader_new(&l, d, &only_prose, 8, (loader_order){1, 1}, 1));
    EXPECT_OK(batch_init(&b, 2, 8));
    if (l) EXPECT_ERROR(loader_next(l, &b), LAMP_MALFORMED, "id 65535 is outside the vocabulary");
    batch_release(&b), loader_free(l), dataset_free(d), buffer_release(&content);
}

/* ---- mixture and loader --------------------------------------------------------------------------------------------------------- */

static void mixture_follows_weights(void) {
    const dataset *d = shared_dataset();
    double p[DATASET_DOMAINS];
    option_map none = {0}, weights = {.n = 2, .row = {{"code", 3}, {"prose", 1}}}, unknown = {.n = 1, .row = {{"poetry", 1}}};
    EXPECT_OK(mixture_resolve(p, &none, d, 17));
    double ratio = sqrt((double)d->domain[0].summary.train_tokens / (double)d->domain[1].summary.train_tokens);
    EXPECT(fabs(p[0] / p[1] - ratio) < 1e-12 && fabs(p[0] + p[1] - 1) < 1e-12 && p[2] == 0, "%g %g %g", p[0], p[1], p[2]);
    EXPECT_OK(mixture_resolve(p, &weights, d, 2));
    EXPECT(p[0] == 0.25 && p[1] == 0.75 && p[2] == 0, "%g %g %g", p[0], p[1], p[2]);
    EXPECT_ERROR(mixture_resolve(p, &unknown, d, 2), LAMP_INVALID, "mixture.poetry: the dataset has no such domain; it has prose, code, note");
    EXPECT_ERROR(mixture_resolve(p, &none, d, 1 << 30), LAMP_INVALID, "the mixture is empty");
    weights.row[0].value = -1;
    EXPECT_ERROR(mixture_resolve(p, &weights, d, 2), LAMP_INVALID, "mixture.code: expected a weight of 0 or more, found -1");
}

static void resumes_with_the_same_batches(loader_order order) {
    enum { B = 3, T = 16, BATCHES = 40 };
    const dataset *d = shared_dataset();
    option_map none = {0};
    loader *l, *resumed;
    loader_state state;
    batch a, b;
    EXPECT_OK(loader_new(&l, d, &none, T, order, 5));
    EXPECT_OK(loader_new(&resumed, d, &none, T, order, 5));
    EXPECT_OK(batch_init(&a, B, T));
    EXPECT_OK(batch_init(&b, B, T));
    long allocations = test_allocations();
    for (int i = 0; i < BATCHES; i++) {
        loader_get_state(l, &state);
        EXPECT(state.sequence == i * B, "batch %d starts at sequence %d", i, (int)state.sequence);
        EXPECT_OK(loader_set_state(resumed, &state));
        EXPECT_OK(loader_next(l, &a));
        EXPECT_OK(loader_next(resumed, &b));
        EXPECT(!memcmp(a.token, b.token, sizeof *a.token * B * T) && !memcmp(a.target, b.target, sizeof *a.token * B * T) &&
                   !memcmp(a.domain, b.domain, sizeof *a.domain * B) && !memcmp(a.begins, b.begins, sizeof *a.begins * B),
               "streams %d, stretch %d: batch %d differs", order.streams, order.stretch, i);
        for (int j = 0; j < B * T; j++) EXPECT(j % T == T - 1 || a.target[j] == a.token[j + 1], "target %d is not the next token", j);
    }
    EXPECT(test_allocations() == allocations, "%ld allocations", test_allocations() - allocations);
    state.cursor[2]++, state.sequence++;
    EXPECT_ERROR(loader_set_state(l, &state), LAMP_CHECKPOINT, "data position");
    state.cursor[2]--, state.sequence += order.streams * order.stretch;
    EXPECT_ERROR(loader_set_state(l, &state), LAMP_CHECKPOINT, "belong to no domain");
    batch_release(&a), batch_release(&b), loader_free(l), loader_free(resumed);
}

static void loader_resumes_with_the_same_batches(void) {
    resumes_with_the_same_batches((loader_order){1, 1});
    resumes_with_the_same_batches((loader_order){6, 1});
    resumes_with_the_same_batches((loader_order){6, 4});
    resumes_with_the_same_batches((loader_order){3, 7});
    resumes_with_the_same_batches((loader_order){1, 1000}); /* longer than any domain */
}

static void streams_do_not_matter_to_single_windows(void) {
    enum { B = 12, T = 16 };
    const dataset *d = shared_dataset();
    option_map none = {0};
    loader *one, *many;
    batch a, b;
    EXPECT_OK(loader_new(&one, d, &none, T, (loader_order){1, 1}, 5));
    EXPECT_OK(loader_new(&many, d, &none, T, (loader_order){B, 1}, 5));
    EXPECT_OK(batch_init(&a, B, T));
    EXPECT_OK(batch_init(&b, B, T));
    for (int i = 0; i < 5; i++) {
        EXPECT_OK(loader_next(one, &a));
        EXPECT_OK(loader_next(many, &b));
        EXPECT(!memcmp(a.token, b.token, sizeof *a.token * B * T), "batch %d differs", i);
        for (int row = 0; row < B; row++) EXPECT(a.begins[row] && b.begins[row], "row %d does not begin", row);
    }
    batch_release(&a), batch_release(&b), loader_free(one), loader_free(many);
}

/* Every stream reads on where it stopped, unless it begins anew; it does so every `stretch` windows, and not all streams at once. */
static void streams_read_on(void) {
    enum { STREAMS = 8, STRETCH = 6, T = 16, TURNS = 60 };
    const dataset *d = shared_dataset();
    option_map none = {0};
    loader *l;
    batch b;
    int32_t next[STREAMS];
    int since[STREAMS] = {0}, most = 0, wrapped = 0;
    EXPECT_OK(loader_new(&l, d, &none, T, (loader_order){STREAMS, STRETCH}, 5));
    EXPECT_OK(batch_init(&b, STREAMS, T));
    for (int turn = 0; turn < TURNS; turn++) {
        int begin = 0;
        EXPECT_OK(loader_next(l, &b));
        for (int row = 0; row < STREAMS; row++) {
            begin += b.begins[row];
            EXPECT(turn > 0 || b.begins[row], "stream %d does not begin", row);
            EXPECT(b.begins[row] || b.token[row * T] == next[row], "turn %d: stream %d does not read on", turn, row);
            EXPECT(since[row] < STRETCH, "turn %d: stream %d reads %d windows", turn, row, since[row] + 1);
            wrapped += turn > STRETCH && b.begins[row] && since[row] + 1 < STRETCH;
            since[row] = b.begins[row] ? 0 : since[row] + 1, next[row] = b.target[row * T + T - 1];
        }
        if (turn > 0 && begin > most) most = begin;
    }
    EXPECT(most > 0 && most < STREAMS / 2, "%d streams begin at once", most);
    EXPECT(wrapped < TURNS * STREAMS / STRETCH / 4, "%d stretches were cut", wrapped);
    batch_release(&b), loader_free(l);
}

/* An epoch of stretches is a permutation too. */
static void epochs_visit_each_stretch_once(void) {
    enum { T = 16, STRETCH = 5 };
    const dataset *d = shared_dataset();
    const shard *s = &d->domain[0].train;
    option_map only_prose = {.n = 1, .row = {{"prose", 1}}};
    int n = (int)((window_count(s, T) + STRETCH - 1) / STRETCH), *seen = NULL;
    loader *l;
    batch b;
    EXPECT_OK(loader_new(&l, d, &only_prose, T, (loader_order){1, STRETCH}, 9));
    EXPECT_OK(batch_init(&b, 1, T));
    EXPECT_OK(memory_new(&seen, (size_t)n, sizeof *seen, "counts"));
    for (int i = 0; i < 2 * n * STRETCH; i++) {
        EXPECT_OK(loader_next(l, &b));
        for (int stretch = 0; stretch < n && i % STRETCH == 0; stretch++) {
            int32_t ids[T];
            EXPECT_OK(shard_read(ids, s, (int64_t)stretch * STRETCH * T, T));
            if (!memcmp(ids, b.token, sizeof ids)) seen[stretch]++;
        }
    }
    for (int stretch = 0; stretch < n; stretch++) EXPECT(seen[stretch] == 2, "stretch %d was read %d times", stretch, seen[stretch]);
    memory_free(seen), batch_release(&b), loader_free(l);
}

static void epochs_visit_each_window_once(void) {
    enum { T = 16 };
    const dataset *d = shared_dataset();
    const shard *s = &d->domain[0].train;
    option_map only_prose = {.n = 1, .row = {{"prose", 1}}};
    int n = (int)window_count(s, T), moved = 0;
    int *seen = NULL, *previous = NULL;
    loader *l;
    batch b;
    int32_t ids[T];
    EXPECT_OK(loader_new(&l, d, &only_prose, T, (loader_order){1, 1}, 9));
    EXPECT_OK(batch_init(&b, 1, T));
    EXPECT_OK(memory_new(&seen, (size_t)n, sizeof *seen, "counts"));
    EXPECT_OK(memory_new(&previous, (size_t)n, sizeof *previous, "an order"));
    for (int epoch = 0; epoch < 2; epoch++)
        for (int i = 0; i < n; i++) {
            int window = 0;
            EXPECT_OK(loader_next(l, &b));
            for (; window < n; window++) { /* not seen in this epoch, and with the same tokens */
                EXPECT_OK(shard_read(ids, s, (int64_t)window * T, T));
                if (seen[window] == epoch && !memcmp(ids, b.token, sizeof ids)) break;
            }
            EXPECT(window < n, "epoch %d, sequence %d: no window left that fits", epoch, i);
            if (window < n) seen[window]++;
            moved += epoch == 1 && previous[i] != window;
            previous[i] = window;
        }
    EXPECT(moved > n / 2, "the second epoch moved %d of %d windows", moved, n);
    memory_free(seen), memory_free(previous), batch_release(&b), loader_free(l);
}

static void shares_approach_the_weights(void) {
    enum { B = 50, T = 4, BATCHES = 200 };
    const dataset *d = shared_dataset();
    option_map weights = {.n = 3, .row = {{"prose", 5}, {"code", 3}, {"note", 0}}};
    loader *l;
    loader_state state;
    batch b;
    EXPECT_OK(loader_new(&l, d, &weights, T, (loader_order){1, 1}, 2));
    EXPECT_OK(batch_init(&b, B, T));
    for (int i = 0; i < BATCHES; i++) EXPECT_OK(loader_next(l, &b));
    loader_get_state(l, &state);
    double share = (double)state.cursor[0] / (B * BATCHES);
    EXPECT(fabs(share - loader_probability(l, 0)) < 0.02 && loader_probability(l, 0) == 0.625 && state.cursor[2] == 0, "share of prose %g", share);
    batch_release(&b), loader_free(l);
}

static void validation_is_read_in_order(void) {
    enum { T = 8 };
    const dataset *d = shared_dataset();
    const shard *s = &d->domain[1].validation;
    int64_t n = window_count(s, T);
    batch b;
    int32_t first[2];
    EXPECT(n >= 2 && n * T + 1 <= s->n && (n + 1) * T + 1 > s->n, "%d windows of %d tokens", (int)n, (int)s->n);
    EXPECT_OK(batch_init(&b, 2, T));
    EXPECT_OK(validation_read(&b, d, 1, n - 2, 1));
    EXPECT_OK(shard_read(first, s, (n - 1) * T, 2));
    EXPECT(b.token[T] == first[0] && b.target[T] == first[1] && b.target[T - 1] == first[0] && b.domain[1] == 1, "the windows do not join");
    batch_release(&b);
}

static void release_shared_dataset(void) { dataset_free(shared_dataset()); }

static const test_case cases[] = {
    {"dedup remembers every hash", dedup_remembers_every_hash},
    {"a dataset holds each document once", dataset_holds_each_document_once},
    {"a dataset does not depend on threads", dataset_does_not_depend_on_threads},
    {"build refuses what is wrong", build_refuses_what_is_wrong},
    {"build keeps bad lines if asked", build_keeps_bad_lines_if_asked},
    {"text that changes while it is read is refused", text_that_changes_while_it_is_read_is_refused},
    {"a word of five million bytes is built", a_word_of_five_million_bytes_is_built},
    {"malformed datasets are refused", malformed_datasets_are_refused},
    {"a dataset made before bad lines were counted opens", a_dataset_made_before_bad_lines_were_counted_opens},
    {"ids outside the vocabulary are refused", ids_outside_the_vocabulary_are_refused},
    {"mixture follows weights", mixture_follows_weights},
    {"a loader resumes with the same batches", loader_resumes_with_the_same_batches},
    {"streams do not matter to single windows", streams_do_not_matter_to_single_windows},
    {"streams read on", streams_read_on},
    {"epochs visit each window once", epochs_visit_each_window_once},
    {"epochs visit each stretch once", epochs_visit_each_stretch_once},
    {"shares approach the weights", shares_approach_the_weights},
    {"validation is read in order", validation_is_read_in_order},
    {"what was opened is released", release_shared_dataset},
};

int main(void) { return test_run("data", cases, sizeof cases / sizeof *cases); }
