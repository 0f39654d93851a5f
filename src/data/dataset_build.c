#include "data/dataset_build.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/problems.h"
#include "data/corpus.h"
#include "data/dedup.h"
#include "data/quarantine.h"
#include "formats/tokenizer_folder.h"

typedef enum { TRAIN, VALIDATION, DUPLICATE } document_side;

typedef struct {
    hash128 hash;
    int64_t bytes;
    document_side side;
} document;

/* Documents copied out of their files so that all threads can work on them at once. */
enum { BATCH_DOCUMENTS = 4096, BATCH_BYTES = 16 << 20 };

typedef struct {
    size_t start, bytes; /* in text */
    document_side side;
    token_list tokens;
    int status;
} batch_document;

typedef struct {
    const dataset_build_options *options;
    char out[PATH_BYTES], folder[PATH_BYTES]; /* the dataset, and what it is called until it is whole */
    char standard_input[PATH_BYTES];          /* the file in folder that it was copied to */
    quarantine bad_lines;
    dataset *d;
    document *documents; /* of all domains, in the order of the visit */
    size_t n_documents, capacity;
    size_t start[DATASET_DOMAINS + 1]; /* documents of domain i: start[i] .. start[i + 1] - 1 */
    dedup_set seen;

    int domain;     /* being visited */
    size_t visited; /* documents of this pass so far */
    double share;   /* of the domain's text that the tokenizer is trained on */
    tokenizer_trainer *trainer;

    encoder **encoder; /* one per thread */
    int n_encoders;
    buffer text;
    batch_document *batch;
    size_t n_batch;
    shard_writer train, validation;
    int64_t tokens, unknown; /* written so far; of words that are not in the vocabulary */
} builder;

void dataset_build_defaults(dataset_build_options *options) {
    *options = (dataset_build_options){.standard_input_kind = "txt",
                                       .field = "text",
                                       .vocabulary = VOCABULARY_OF_BYTES,
                                       .vocabulary_size = 8192,
                                       .tokenizer_bytes = 50 << 20,
                                       .validation_share = 0.02,
                                       .validation_bytes = 4 << 20};
}

static bool is_standard_input(const char *path) { return !strcmp(path, "-"); }

static int check_domain(const dataset_build_options *o, int i) {
    const char *name = o->domain[i].name, *path = o->domain[i].path;
    TRY(domain_check_name(name));
    for (int j = 0; j < i; j++) {
        if (!strcmp(name, o->domain[j].name)) FAIL(LAMP_INVALID, "domain %s is named twice", name);
        if (is_standard_input(path) && is_standard_input(o->domain[j].path))
            FAIL(LAMP_INVALID, "domains %s and %s: standard input can be read once only", o->domain[j].name, name);
    }
    if (is_standard_input(path)) return LAMP_OK;
    if (!file_exists(path)) FAIL(LAMP_IO, "domain %s: %s: no such file or folder", name, path);
    if (file_is_inside(o->out, path))
        FAIL(LAMP_INVALID, "domain %s: %s: would hold the dataset %s, which would then be its text; choose a place outside of it", name, path,
             o->out);
    return LAMP_OK;
}

static int check_options(const dataset_build_options *o) {
    problem_list problems = {0};
    if (file_exists(o->out)) FAIL(LAMP_INVALID, "%s: is already there; choose another name or remove it first", o->out);
    if (o->n_domains < 1 || o->n_domains > DATASET_DOMAINS) FAIL(LAMP_INVALID, "expected 1 to %d domains, found %d", DATASET_DOMAINS, o->n_domains);
    if (!(o->validation_share >= 0 && o->validation_share <= 0.5))
        FAIL(LAMP_INVALID, "validation share: expected 0 to 0.5, found %g", o->validation_share);
    for (int i = 0; i < o->n_domains; i++) problems_add(&problems, check_domain(o, i));
    return problems_end(&problems);
}

/* ---- reading -------------------------------------------------------------------------------------------------------------------- */

static int copy_standard_input(builder *b) {
    char name[64];
    bool is_asked_for = false;
    for (int i = 0; i < b->options->n_domains; i++) is_asked_for |= is_standard_input(b->options->domain[i].path);
    if (!is_asked_for) return LAMP_OK;
    log_progress("reading standard input");
    snprintf(name, sizeof name, "standard-input.%s", b->options->standard_input_kind);
    TRY(file_join(b->standard_input, b->folder, name));
    return file_write_stream(b->standard_input, STDIN_FILENO, "standard input");
}

typedef int line_refusal(void *context, const corpus_bad_line *bad);

static int visit_domain(builder *b, corpus_visitor *visit, line_refusal *refuse, corpus_counts *passed_over) {
    const char *path = b->options->domain[b->domain].path;
    corpus_reading reading = {.path = path, .field = b->options->field, .visit = visit, .refuse = refuse, .context = b};
    if (is_standard_input(path)) reading.path = b->standard_input, reading.called = "standard input";
    return corpus_visit(&reading, passed_over);
}

/* The first pass does with a bad line what was asked for. */
static int refuse_line(void *context, const corpus_bad_line *bad) {
    builder *b = context;
    char problem[PATH_BYTES];
    snprintf(problem, sizeof problem, "%s", lamp_error_message());
    switch (b->options->bad_lines) {
    case BAD_LINES_SKIP: return LAMP_OK;
    case BAD_LINES_QUARANTINE: return quarantine_add(&b->bad_lines, b->folder, bad, problem);
    default: FAIL(bad->status, "%s; --bad-lines skip passes over such lines", problem);
    }
}

/* ---- first pass: what is there -------------------------------------------------------------------------------------------------- */

static int survey_document(void *context, const char *bytes, size_t length) {
    builder *b = context;
    domain_summary *summary = &b->d->domain[b->domain].summary;
    bool is_new;
    TRY(interrupt_check("reading the text"));
    TRY(memory_reserve(&b->documents, &b->capacity, b->n_documents + 1, sizeof *b->documents, "the list of documents"));
    hash128 hash = hash_bytes(bytes, length);
    TRY(dedup_add(&b->seen, hash, &is_new));
    b->documents[b->n_documents++] = (document){hash, (int64_t)length, is_new ? TRAIN : DUPLICATE};
    summary->documents += is_new, summary->duplicates += !is_new;
    summary->bytes += is_new ? (int64_t)length : 0;
    return LAMP_OK;
}

static int compare_hashes(const void *a, const void *b) {
    const document *x = *(document *const *)a, *y = *(document *const *)b;
    if (x->hash.high != y->hash.high) return x->hash.high < y->hash.high ? -1 : 1;
    return (x->hash.low > y->hash.low) - (x->hash.low < y->hash.low);
}

/* In the order of their hashes, documents go to validation as long as they fit into its share; if none fits, the smallest goes. */
static int choose_validation(builder *b, int domain) {
    const domain_summary *summary = &b->d->domain[domain].summary;
    document **order;
    size_t n = 0, smallest = 0;
    if (summary->documents < 2) return LAMP_OK;
    TRY(memory_new(&order, (size_t)summary->documents, sizeof *order, "the order of documents"));
    for (size_t i = b->start[domain]; i < b->start[domain + 1]; i++)
        if (b->documents[i].side != DUPLICATE) order[n++] = &b->documents[i];
    qsort(order, n, sizeof *order, compare_hashes);
    double room = b->options->validation_share * (double)summary->bytes;
    if (room > (double)b->options->validation_bytes) room = (double)b->options->validation_bytes;
    bool none = true;
    for (size_t i = 0; i < n; i++) {
        if (order[i]->bytes < order[smallest]->bytes) smallest = i;
        if ((double)order[i]->bytes > room) continue;
        order[i]->side = VALIDATION, none = false;
        room -= (double)order[i]->bytes;
    }
    if (none) order[smallest]->side = VALIDATION;
    memory_free(order);
    return LAMP_OK;
}

static int survey_domain(builder *b, int domain) {
    const char *name = b->options->domain[domain].name;
    domain_summary *summary = &b->d->domain[domain].summary;
    log_progress("reading %s", name);
    strcpy(summary->name, name);
    b->domain = domain, b->d->n_domains = domain + 1;
    int status = visit_domain(b, survey_document, refuse_line, &summary->passed_over);
    if (status < 0) return error_add_context(status, "domain %s", name);
    if (summary->documents == 0)
        FAIL(LAMP_INVALID, "domain %s: %s: no text is left (passed over: %lld binary files, %lld empty documents, %lld bad lines, %lld duplicates)",
             name, b->options->domain[domain].path, (long long)summary->passed_over.binary_files, (long long)summary->passed_over.empty_documents,
             (long long)summary->passed_over.bad_lines, (long long)summary->duplicates);
    b->start[domain + 1] = b->n_documents;
    return choose_validation(b, domain);
}

/* ---- later passes see the same documents in the same order ---------------------------------------------------------------------- */

static int text_has_changed(const builder *b) {
    FAIL(LAMP_FAILURE, "domain %s: its text changed while it was being read; try again", b->d->domain[b->domain].summary.name);
}

static int visit_again(builder *b, const document **which, const char *bytes, size_t length) {
    hash128 hash = hash_bytes(bytes, length);
    *which = &b->documents[b->visited];
    if (b->visited == b->start[b->domain + 1] || hash.low != (*which)->hash.low || hash.high != (*which)->hash.high) return text_has_changed(b);
    b->visited++;
    return LAMP_OK;
}

/* The first pass has done what was asked for with bad lines. */
static int pass_over_line(void *context, const corpus_bad_line *bad) {
    (void)context, (void)bad;
    return LAMP_OK;
}

static int visit_domain_again(builder *b, corpus_visitor *visit) {
    corpus_counts passed_over = {0};
    TRY(visit_domain(b, visit, pass_over_line, &passed_over));
    return b->visited == b->start[b->domain + 1] ? LAMP_OK : text_has_changed(b);
}

/* ---- second pass: the tokenizer ------------------------------------------------------------------------------------------------- */

static int sample_document(void *context, const char *bytes, size_t length) {
    builder *b = context;
    const document *which;
    TRY(interrupt_check("training the tokenizer"));
    TRY(visit_again(b, &which, bytes, length));
    double where = (double)(which->hash.low >> 11) * 0x1p-53; /* uniform, and independent of the order in which validation was chosen */
    if (which->side != TRAIN || where >= b->share) return LAMP_OK;
    return tokenizer_trainer_feed(b->trainer, bytes, length);
}

/* Merges hardly change with more text; how frequent rare words are does. */
static double share_of_text(const builder *b) {
    if (b->options->vocabulary == VOCABULARY_OF_WORDS) return 1;
    return (double)b->options->tokenizer_bytes / b->d->n_domains / (double)b->d->domain[b->domain].summary.bytes;
}

static int train_tokenizer(builder *b) {
    if (b->d->tokenizer) return LAMP_OK;
    TRY(tokenizer_trainer_new(&b->trainer, b->options->vocabulary));
    b->visited = 0;
    for (b->domain = 0; b->domain < b->d->n_domains; b->domain++) {
        log_progress("tokenizer: counting words of %s", b->d->domain[b->domain].summary.name);
        b->share = share_of_text(b);
        TRY(visit_domain_again(b, sample_document));
    }
    log_progress("tokenizer: learning a vocabulary of %d", b->options->vocabulary_size);
    return tokenizer_trainer_finish(&b->d->tokenizer, b->trainer, b->options->vocabulary_size);
}

static int write_tokenizer(builder *b) {
    char path[PATH_BYTES];
    mapped_file map;
    b->d->vocabulary_size = tokenizer_vocabulary_size(b->d->tokenizer);
    TRY(tokenizer_folder_write(b->d->tokenizer, b->folder));
    TRY(file_join(path, b->folder, "tokenizer.json"));
    TRY(file_map(&map, path));
    hash_to_text(b->d->tokenizer_hash, hash_bytes(map.bytes, map.length));
    file_unmap(&map);
    return LAMP_OK;
}

/* ---- third pass: the tokens ----------------------------------------------------------------------------------------------------- */

static void count_unknown(builder *b, const token_list *tokens) {
    int32_t unknown = tokenizer_unknown(b->d->tokenizer);
    b->tokens += (int64_t)tokens->length;
    for (size_t i = 0; i < tokens->length; i++) b->unknown += tokens->id[i] == unknown;
}

static int flush_batch(builder *b) {
    const domain_summary *summary = &b->d->domain[b->domain].summary;
    int32_t end_of_text = tokenizer_end_of_text(b->d->tokenizer);
#pragma omp parallel for schedule(dynamic) num_threads(b->n_encoders)
    for (size_t i = 0; i < b->n_batch; i++) {
        batch_document *one = &b->batch[i];
        one->tokens.length = 0;
        one->status = encoder_encode_as(b->encoder[omp_get_thread_num()], &one->tokens, b->text.bytes + one->start, one->bytes, ENCODE_BEGIN);
        if (one->status == LAMP_OK && end_of_text >= 0) one->status = token_list_append(&one->tokens, end_of_text);
    }
    TRY(interrupt_check("tokenising"));
    for (size_t i = 0; i < b->n_batch; i++) {
        const batch_document *one = &b->batch[i];
        if (one->status < 0) FAIL(one->status, "domain %s: a document of %zu bytes could not be tokenised", summary->name, one->bytes);
        TRY(shard_writer_append(one->side == TRAIN ? &b->train : &b->validation, one->tokens.id, one->tokens.length));
        count_unknown(b, &one->tokens);
    }
    log_progress("tokenising %s: %.0f %%", summary->name,
                 100.0 * (double)(b->visited - b->start[b->domain]) / (double)(b->start[b->domain + 1] - b->start[b->domain]));
    buffer_clear(&b->text);
    b->n_batch = 0;
    return LAMP_OK;
}

static int tokenise_document(void *context, const char *bytes, size_t length) {
    builder *b = context;
    const document *which;
    TRY(visit_again(b, &which, bytes, length));
    if (which->side == DUPLICATE) return LAMP_OK;
    if (b->n_batch == BATCH_DOCUMENTS || b->text.length + length > BATCH_BYTES) TRY(flush_batch(b));
    batch_document *one = &b->batch[b->n_batch++];
    one->start = b->text.length, one->bytes = length, one->side = which->side;
    return buffer_append(&b->text, bytes, length);
}

static int open_writer(shard_writer *w, const builder *b, const char *side) {
    char name[DOMAIN_NAME_BYTES + 32], path[PATH_BYTES];
    snprintf(name, sizeof name, "%s.%s.tokens", b->d->domain[b->domain].summary.name, side);
    TRY(file_join(path, b->folder, name));
    return shard_writer_open(w, path, shard_token_bytes(b->d->vocabulary_size));
}

static int finish_writer(shard_writer *w, shard *s, int64_t *n_tokens, int vocabulary_size) {
    TRY(shard_writer_finish(w));
    TRY(shard_open(s, w->path, vocabulary_size)); /* read back: what the manifest says is what the disk holds */
    *n_tokens = s->n;
    shard_writer_release(w);
    return LAMP_OK;
}

static int tokenise_domain(builder *b) {
    domain_summary *summary = &b->d->domain[b->domain].summary;
    TRY(open_writer(&b->train, b, "train"));
    TRY(open_writer(&b->validation, b, "validation"));
    TRY(visit_domain_again(b, tokenise_document));
    TRY(flush_batch(b));
    TRY(finish_writer(&b->train, &b->d->domain[b->domain].train, &summary->train_tokens, b->d->vocabulary_size));
    return finish_writer(&b->validation, &b->d->domain[b->domain].validation, &summary->validation_tokens, b->d->vocabulary_size);
}

static int tokenise(builder *b) {
    b->n_encoders = omp_get_max_threads();
    TRY(memory_new(&b->encoder, (size_t)b->n_encoders, sizeof *b->encoder, "encoders"));
    for (int i = 0; i < b->n_encoders; i++) TRY(encoder_new(&b->encoder[i], b->d->tokenizer));
    TRY(memory_new(&b->batch, BATCH_DOCUMENTS, sizeof *b->batch, "a batch of documents"));
    b->visited = 0;
    for (b->domain = 0; b->domain < b->d->n_domains; b->domain++) TRY(tokenise_domain(b));
    return LAMP_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------------------ */

static void builder_release(builder *b) {
    quarantine_release(&b->bad_lines);
    shard_writer_release(&b->train);
    shard_writer_release(&b->validation);
    for (size_t i = 0; b->batch && i < BATCH_DOCUMENTS; i++) token_list_release(&b->batch[i].tokens);
    memory_free(b->batch);
    buffer_release(&b->text);
    for (int i = 0; b->encoder && i < b->n_encoders; i++) encoder_free(b->encoder[i]);
    memory_free(b->encoder);
    tokenizer_trainer_free(b->trainer);
    dedup_release(&b->seen);
    memory_free(b->documents);
    dataset_free(b->d);
}

static int write_dataset(builder *b) {
    TRY(file_remove_folder(b->folder));
    TRY(file_make_folder(b->folder));
    if (b->options->tokenizer_from) TRY(tokenizer_open(&b->d->tokenizer, b->options->tokenizer_from));
    TRY(copy_standard_input(b));
    for (int i = 0; i < b->options->n_domains; i++) TRY(survey_domain(b, i));
    TRY(quarantine_finish(&b->bad_lines));
    TRY(train_tokenizer(b));
    TRY(write_tokenizer(b));
    TRY(tokenise(b));
    TRY(dataset_write_manifest(b->d, b->folder));
    if (*b->standard_input) TRY(file_remove_folder(b->standard_input));
    TRY(file_sync(b->folder));
    return file_rename(b->folder, b->out);
}

int dataset_build(const dataset_build_options *options, dataset_build_report *report) {
    builder b = {.options = options};
    int status = LAMP_OK;
    TRY(check_options(options));
    TRY(file_name_partial(b.out, b.folder, options->out));
    TRY(memory_new(&b.d, 1, sizeof *b.d, "a dataset"));
    status = write_dataset(&b);
    if (status < 0) {
        file_remove_folder(b.folder);
        goto done;
    }
    *report = (dataset_build_report){.vocabulary_size = b.d->vocabulary_size, .n_domains = b.d->n_domains};
    report->unknown_share = (double)b.unknown / (double)b.tokens;
    for (int i = 0; i < b.d->n_domains; i++) report->domain[i] = b.d->domain[i].summary;
done:
    builder_release(&b);
    return status;
}
