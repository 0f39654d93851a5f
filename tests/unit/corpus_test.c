#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "../test.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "data/corpus.h"
#include "data/unpacked_file.h"

/* ---- what a visit finds ---------------------------------------------------------------------------------------------------------- */

typedef struct {
    buffer documents; /* each in brackets */
    buffer bad_lines; /* the number of each, with a space behind it */
    int n, n_malformed, n_unsupported;
    size_t longest;
    corpus_counts passed_over;
} findings;

static int find_document(void *context, const char *bytes, size_t length) {
    findings *f = context;
    if (length > f->longest) f->longest = length;
    f->n++;
    buffer_append_byte(&f->documents, '[');
    buffer_append(&f->documents, bytes, length);
    return buffer_append_byte(&f->documents, ']');
}

static int find_bad_line(void *context, const corpus_bad_line *bad) {
    findings *f = context;
    f->n_malformed += bad->status == LAMP_MALFORMED, f->n_unsupported += bad->status == LAMP_UNSUPPORTED;
    return buffer_printf(&f->bad_lines, "%d ", (int)bad->line);
}

static void clear(findings *f) {
    buffer_release(&f->documents), buffer_release(&f->bad_lines);
    *f = (findings){0};
}

/* The findings are those of the last visit, until the next. */
static findings found;

static int visit(const char *name) {
    clear(&found);
    corpus_reading reading = {.path = test_path(name), .field = "text", .visit = find_document, .context = &found};
    return corpus_visit(&reading, &found.passed_over);
}

static int visit_passing_over_bad_lines(const char *name) {
    clear(&found);
    corpus_reading reading = {.path = test_path(name), .field = "text", .visit = find_document, .refuse = find_bad_line, .context = &found};
    return corpus_visit(&reading, &found.passed_over);
}

static void expect_documents(const char *name, const char *expected) {
    EXPECT_OK(visit(name));
    EXPECT(!strcmp(found.documents.bytes ? found.documents.bytes : "", expected), "%s: %s, expected %s", name, found.documents.bytes, expected);
}

/* ---- packing --------------------------------------------------------------------------------------------------------------------- */

static void pack_zstd(buffer *packed, const char *bytes, size_t length) {
    size_t room = ZSTD_compressBound(length), n;
    char *member;
    EXPECT_OK(memory_new(&member, room, 1, "a packed text"));
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    n = ZSTD_compress2(context, member, room, bytes, length);
    EXPECT(!ZSTD_isError(n), "%s", ZSTD_getErrorName(n));
    EXPECT_OK(buffer_append(packed, member, n));
    ZSTD_freeCCtx(context);
    memory_free(member);
}

static void pack_gzip(buffer *packed, const char *bytes, size_t length) {
    enum { GZIP = 16, MEMORY_LEVEL = 8 };
    z_stream z = {0};
    EXPECT(deflateInit2(&z, 6, Z_DEFLATED, MAX_WBITS + GZIP, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) == Z_OK, "no gzip");
    size_t room = deflateBound(&z, length);
    char *member;
    EXPECT_OK(memory_new(&member, room, 1, "a packed text"));
    z.next_in = (unsigned char *)(uintptr_t)bytes, z.avail_in = (uInt)length;
    z.next_out = (unsigned char *)member, z.avail_out = (uInt)room;
    EXPECT(deflate(&z, Z_FINISH) == Z_STREAM_END, "gzip did not end");
    EXPECT_OK(buffer_append(packed, member, room - z.avail_out));
    deflateEnd(&z);
    memory_free(member);
}

static const struct {
    const char *suffix;
    void (*pack)(buffer *packed, const char *bytes, size_t length);
} packings[] = {{".zst", pack_zstd}, {".gz", pack_gzip}};

static void write_packed(const char *name, const char *text, int packing) {
    buffer packed = {0};
    packings[packing].pack(&packed, text, strlen(text));
    test_write(name, packed.bytes, packed.length);
    buffer_release(&packed);
}

/* ---- memory ---------------------------------------------------------------------------------------------------------------------- */

static long peak_bytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss << 10;
}

/* 600 MiB of one letter in some 30 KB. */
static void write_bomb(const char *name) {
    enum { MEMBERS = 600, MEMBER_BYTES = 1 << 20 };
    buffer text = {0}, member = {0}, packed = {0};
    for (int i = 0; i < MEMBER_BYTES; i++) buffer_append_byte(&text, 'x');
    pack_zstd(&member, text.bytes, text.length);
    for (int i = 0; i < MEMBERS; i++) buffer_append(&packed, member.bytes, member.length);
    test_write(name, packed.bytes, packed.length);
    buffer_release(&text), buffer_release(&member), buffer_release(&packed);
}

static int count_bytes(void *context, const char *bytes, size_t length) {
    (void)bytes;
    *(int64_t *)context += (int64_t)length;
    return LAMP_OK;
}

/* This test comes first, so that the peak before it is not that of another. */
static void a_decompression_bomb_is_refused_in_bounded_memory(void) {
    enum { ALLOWED = 128 << 20 };
    long before = peak_bytes();
    int64_t bytes = 0;
    corpus_counts passed_over = {0};
    write_bomb("bomb.txt.zst"), write_bomb("bomb.jsonl.zst");
    corpus_reading reading = {.path = test_path("bomb.txt.zst"), .field = "text", .visit = count_bytes, .context = &bytes};
    EXPECT_ERROR(corpus_visit(&reading, &passed_over), LAMP_UNSUPPORTED, "bomb.txt.zst: ");
    EXPECT_ERROR(corpus_visit(&reading, &passed_over), LAMP_UNSUPPORTED, "over 500 times as much; if this is text, unpack it first");
    EXPECT(bytes > UNPACKED_FREE_BYTES && bytes <= 2 * (UNPACKED_FREE_BYTES + (8ll << 20)), "%lld bytes were read", (long long)bytes);
    EXPECT_ERROR(visit("bomb.jsonl.zst"), LAMP_UNSUPPORTED, "bomb.jsonl.zst: line 1: expected at most 16 MiB in a line");
    EXPECT_ERROR(visit_passing_over_bad_lines("bomb.jsonl.zst"), LAMP_UNSUPPORTED, "over 500 times as much");
    EXPECT(peak_bytes() - before < ALLOWED, "the peak rose by %ld MiB", (peak_bytes() - before) >> 20);
}

/* ---- lines ----------------------------------------------------------------------------------------------------------------------- */

static void documents_are_found_in_folders_and_lines(void) {
    test_write_text("corpus/b.txt", "two"), test_write_text("corpus/a/one", "one"), test_write_text("corpus/empty", "");
    test_write_text("corpus/c.jsonl", "{\"text\": \"caf\\u00e9\", \"id\": 3}\n\n  \r\n{\"text\": \"\"}\n{\"text\": \"last\"}");
    write_packed("corpus/d.jsonl.gz", "{\"text\": \"gzip\"}\n", 1), write_packed("corpus/e.txt.zst", "zstd", 0);
    test_write("corpus/picture", "PNG\0\1\2", 6);
    expect_documents("corpus", "[one][two][caf\xC3\xA9][last][gzip][zstd]");
    EXPECT(found.passed_over.binary_files == 1, "%d binary files", (int)found.passed_over.binary_files);
    EXPECT(found.passed_over.empty_documents == 2, "%d empty documents", (int)found.passed_over.empty_documents);
    EXPECT_ERROR(visit("absent"), LAMP_IO, "absent");
}

static void line_ends_and_byte_order_marks_are_no_text(void) {
    test_write_text("ends.jsonl", "\xEF\xBB\xBF{\"text\": \"a\\r\\n\"}\r\n\r\n \t\r\n{\"text\": \"b\"}\n\n{\"text\": \"c\"}");
    expect_documents("ends.jsonl", "[a\r\n][b][c]");
    test_write_text("mark.jsonl", "\xEF\xBB\xBF"), test_write_text("none.jsonl", ""), test_write_text("blank.jsonl", "\n\r\n  \n");
    expect_documents("mark.jsonl", ""), expect_documents("none.jsonl", ""), expect_documents("blank.jsonl", "");
    test_write_text("ends.txt", "\xEF\xBB\xBFone\r\ntwo"), test_write_text("mark.txt", "\xEF\xBB\xBF");
    expect_documents("ends.txt", "[one\r\ntwo]"), expect_documents("mark.txt", "");
    EXPECT(found.passed_over.empty_documents == 1, "%d empty documents", (int)found.passed_over.empty_documents);
}

static void the_field_is_chosen_by_name(void) {
    test_write_text("field.jsonl", "{\"content\": \"this\", \"text\": \"not this\"}\n");
    clear(&found);
    corpus_reading reading = {.path = test_path("field.jsonl"), .field = "content", .visit = find_document, .context = &found};
    EXPECT_OK(corpus_visit(&reading, &found.passed_over));
    EXPECT(!strcmp(found.documents.bytes, "[this]"), "%s", found.documents.bytes);
    reading.field = "body";
    EXPECT_ERROR(corpus_visit(&reading, &found.passed_over), LAMP_MALFORMED,
                 "field.jsonl: line 1: expected text in the field \"body\", found no such field but \"content\"; --field NAME reads another field");
}

#define BYTES(text) text, sizeof text - 1

static const struct {
    const char *bytes;
    size_t length;
    int status;
    const char *message;
} bad_lines[] = {
    {BYTES("[1]"), LAMP_MALFORMED, "expected an object {...}, found an array"},
    {BYTES("\"text\""), LAMP_MALFORMED, "not valid JSON"},
    {BYTES("plain words"), LAMP_MALFORMED, "not valid JSON"},
    {BYTES("{}"), LAMP_MALFORMED, "expected text in the field \"text\", found an empty object"},
    {BYTES("{\"Text\": \"a\"}"), LAMP_MALFORMED, "found no such field but \"Text\""},
    {BYTES("{\"text\": 3}"), LAMP_MALFORMED, "\"text\": expected text, found an integer"},
    {BYTES("{\"text\": null}"), LAMP_MALFORMED, "\"text\": expected text, found null"},
    {BYTES("{\"text\": [\"a\"]}"), LAMP_MALFORMED, "\"text\": expected text, found an array"},
    {BYTES("{\"text\": \"a\", \"text\": \"b\"}"), LAMP_MALFORMED, "duplicate object key"},
    {BYTES("{\"text\": \"open"), LAMP_MALFORMED, "not valid JSON"},
    {BYTES("{\"text\": \"a\"} {\"text\": \"b\"}"), LAMP_MALFORMED, "not valid JSON"},
    {BYTES("{\"text\": \"\xFF\"}"), LAMP_MALFORMED, "not valid JSON"},
    {BYTES("{\"text\": \"\xC0\x80\"}"), LAMP_MALFORMED, "not valid JSON"},
    {BYTES("{\"text\": \"\xED\xA0\x80\"}"), LAMP_MALFORMED, "not valid JSON"},
    {BYTES("{\"text\": \"cut \xC3"), LAMP_MALFORMED, "not valid JSON"},
    {BYTES("{\"text\": \"a\0b\"}"), LAMP_MALFORMED, "not valid JSON"},
    {BYTES("\0"), LAMP_MALFORMED, "not valid JSON"},
    {BYTES("{\"text\": \"\\ud800\"}"), LAMP_MALFORMED, "invalid Unicode"},
    {BYTES("{\"text\": \"\\udc00 \\ud800\"}"), LAMP_MALFORMED, "invalid Unicode"},
    {BYTES("{\"text\": \"\\ud800\\ud800\"}"), LAMP_MALFORMED, "invalid Unicode"},
    {BYTES("{\"text\": \"a\", \"n\": 1e999}"), LAMP_UNSUPPORTED, "expected numbers of at most 64 bits"},
    {BYTES("{\"text\": NaN}"), LAMP_MALFORMED, "not valid JSON"},
};

static void every_bad_line_is_named(void) {
    enum { N = sizeof bad_lines / sizeof *bad_lines };
    buffer all = {0}, numbers = {0};
    for (int i = 0; i < N; i++) {
        buffer text = {0};
        char where[32];
        buffer_append_text(&text, "{\"text\": \"fine\"}\n\n");
        buffer_append(&text, bad_lines[i].bytes, bad_lines[i].length);
        test_write("bad.jsonl", text.bytes, text.length);
        snprintf(where, sizeof where, "bad.jsonl: line %d: ", 3);
        EXPECT_ERROR(visit("bad.jsonl"), bad_lines[i].status, where);
        EXPECT_ERROR(visit("bad.jsonl"), bad_lines[i].status, bad_lines[i].message);
        buffer_append(&all, text.bytes, text.length);
        buffer_append_byte(&all, '\n');
        buffer_printf(&numbers, "%d ", 3 * i + 3);
        buffer_release(&text);
    }
    test_write("bad.jsonl", all.bytes, all.length);
    EXPECT_OK(visit_passing_over_bad_lines("bad.jsonl"));
    EXPECT(found.n == N && found.passed_over.bad_lines == N && found.n_malformed == N - 1, "%d documents, %d bad lines", found.n,
           (int)found.passed_over.bad_lines);
    EXPECT(!strcmp(found.bad_lines.bytes, numbers.bytes), "bad lines %s", found.bad_lines.bytes);
    buffer_release(&all), buffer_release(&numbers);
}

static void write_nested(const char *name, int depth) {
    buffer text = {0};
    buffer_append_text(&text, "{\"text\": \"a\", \"deep\": ");
    for (int i = 0; i < depth; i++) buffer_append_byte(&text, '[');
    for (int i = 0; i < depth; i++) buffer_append_byte(&text, ']');
    buffer_append_text(&text, "}");
    test_write(name, text.bytes, text.length);
    buffer_release(&text);
}

/* Each {} costs the line three bytes and the reader over two hundred. Commas and brackets in text are no values. */
static void a_line_of_too_many_values_is_unsupported(void) {
    for (int n = 100000; n <= 300000; n += 200000) {
        buffer text = {0};
        buffer_append_text(&text, "{\"text\": \"a\", \"\\\"");
        for (int i = 0; i < 300000; i++) buffer_append_text(&text, "[{,");
        buffer_append_text(&text, "\": [0");
        for (int i = 0; i < n; i++) buffer_append_text(&text, ",{}");
        buffer_append_text(&text, "]}\n");
        test_write("many.jsonl", text.bytes, text.length);
        buffer_release(&text);
        if (n == 100000) expect_documents("many.jsonl", "[a]");
        else EXPECT_ERROR(visit("many.jsonl"), LAMP_UNSUPPORTED, "many.jsonl: line 1: expected at most 262144 values in a line, found more");
    }
    EXPECT_OK(visit_passing_over_bad_lines("many.jsonl"));
}

static void a_line_nested_too_deep_is_unsupported(void) {
    write_nested("deep.jsonl", 2000);
    expect_documents("deep.jsonl", "[a]");
    write_nested("deep.jsonl", 1 << 17);
    EXPECT_ERROR(visit("deep.jsonl"), LAMP_UNSUPPORTED, "deep.jsonl: line 1: expected JSON nested at most 2048 deep, found deeper");
    EXPECT_OK(visit_passing_over_bad_lines("deep.jsonl"));
    EXPECT(found.n_unsupported == 1, "%d lines", found.n_unsupported);
}

static void a_number_of_many_digits_is_unsupported(void) {
    buffer text = {0};
    buffer_append_text(&text, "{\"text\": \"a\", \"n\": 1");
    for (int i = 0; i < 1 << 20; i++) buffer_append_byte(&text, '0');
    buffer_append_text(&text, "}\n{\"text\": \"b\"}\n");
    test_write("digits.jsonl", text.bytes, text.length);
    EXPECT_ERROR(visit("digits.jsonl"), LAMP_UNSUPPORTED, "digits.jsonl: line 1: column ");
    EXPECT_OK(visit_passing_over_bad_lines("digits.jsonl"));
    EXPECT(found.n == 1 && found.n_unsupported == 1, "%d documents", found.n);
    buffer_release(&text);
}

/* {"text": "xx..."} of this many bytes, between two short lines. */
static void write_long_line(const char *name, size_t length) {
    static const char before[] = "{\"text\": \"", after[] = "\"}";
    buffer text = {0};
    buffer_append_text(&text, "{\"text\": \"first\"}\n");
    buffer_append_text(&text, before);
    for (size_t i = sizeof before + sizeof after - 2; i < length; i++) buffer_append_byte(&text, 'x');
    buffer_append_text(&text, after);
    buffer_append_text(&text, "\n{\"text\": \"last\"}\n");
    test_write(name, text.bytes, text.length);
    buffer_release(&text);
}

static void a_line_of_more_than_16_mib_is_unsupported(void) {
    write_long_line("long.jsonl", CORPUS_LINE_BYTES);
    EXPECT_OK(visit("long.jsonl"));
    EXPECT(found.n == 3 && found.longest == CORPUS_LINE_BYTES - 12, "%d documents, the longest %zu bytes", found.n, found.longest);
    for (int i = 0; i < 2; i++) {
        write_long_line("long.jsonl", i == 0 ? CORPUS_LINE_BYTES + 1 : 3 * CORPUS_LINE_BYTES);
        EXPECT_ERROR(visit("long.jsonl"), LAMP_UNSUPPORTED, "long.jsonl: line 2: expected at most 16 MiB in a line, found more");
        EXPECT_OK(visit_passing_over_bad_lines("long.jsonl"));
        EXPECT(!strcmp(found.documents.bytes, "[first][last]") && !strcmp(found.bad_lines.bytes, "2 "), "%s, bad lines %s", found.documents.bytes,
               found.bad_lines.bytes);
    }
}

/* ---- plain text ------------------------------------------------------------------------------------------------------------------ */

static void plain_text_is_any_bytes(void) {
    buffer text = {0};
    test_write_text("bytes.txt", "caf\xE9 \xC3\r\n\xED\xA0\x80");
    expect_documents("bytes.txt", "[caf\xE9 \xC3\r\n\xED\xA0\x80]");
    for (int i = 0; i < 9000; i++) buffer_append_byte(&text, 'y');
    buffer_append(&text, "\0z", 2); /* behind what is probed for NULs */
    test_write("late.txt", text.bytes, text.length);
    EXPECT_OK(visit("late.txt"));
    EXPECT(found.n == 1 && found.longest == 9002, "%d documents, the longest %zu bytes", found.n, found.longest);
    test_write("wide.txt",
               "\xFF\xFE"
               "a\0b\0",
               6);
    expect_documents("wide.txt", "");
    EXPECT(found.passed_over.binary_files == 1, "%d binary files", (int)found.passed_over.binary_files);
    buffer_release(&text);
}

typedef struct {
    buffer all;
    int n, cut_badly;
    size_t longest;
} parts;

static int collect_part(void *context, const char *bytes, size_t length) {
    parts *p = context;
    if (p->all.length > 0 && strcmp(p->all.bytes + p->all.length - 2, "\n\n") != 0) p->cut_badly++;
    if (length > p->longest) p->longest = length;
    p->n++;
    return buffer_append(&p->all, bytes, length);
}

static void expect_parts(parts *p, const char *name, const buffer *book) {
    corpus_counts passed_over = {0};
    p->all.length = 0, p->n = 0, p->longest = 0, p->cut_badly = 0;
    corpus_reading reading = {.path = test_path(name), .field = "text", .visit = collect_part, .context = p};
    EXPECT_OK(corpus_visit(&reading, &passed_over));
    EXPECT(p->all.length == book->length && !memcmp(p->all.bytes, book->bytes, book->length), "%s: the parts are not the book", name);
}

static void books_are_cut_at_blank_lines(void) {
    buffer book = {0}, packed = {0};
    parts p = {0};
    for (int i = 0; book.length < 3 << 20; i++) buffer_printf(&book, "This is line %d of a long book.\n%s", i, i % 7 ? "" : "\n");
    test_write("book.txt", book.bytes, book.length);
    expect_parts(&p, "book.txt", &book);
    EXPECT(p.n >= 40 && p.n <= 48 && p.longest < 129 << 10, "%d parts, the longest %zu bytes", p.n, p.longest);
    EXPECT(p.cut_badly == 0, "%d parts end inside a paragraph", p.cut_badly);
    int n = p.n;
    pack_zstd(&packed, book.bytes, book.length);
    test_write("book.txt.zst", packed.bytes, packed.length);
    expect_parts(&p, "book.txt.zst", &book);
    EXPECT(p.n == n, "packed, it has %d parts instead of %d", p.n, n);
    memset(book.bytes, 'x', book.length); /* no line ends at all */
    test_write("book.txt", book.bytes, book.length);
    expect_parts(&p, "book.txt", &book);
    EXPECT(p.longest <= 128 << 10, "the longest has %zu bytes", p.longest);
    buffer_release(&book), buffer_release(&packed), buffer_release(&p.all);
}

/* ---- packed files ---------------------------------------------------------------------------------------------------------------- */

static const char two_lines[] = "{\"text\": \"one line of text\"}\n{\"text\": \"another line of text\"}\n";
static const char two_documents[] = "[one line of text][another line of text]";

static const char *packed_name(int packing, const char *stem) {
    static char name[64];
    snprintf(name, sizeof name, "%s%s", stem, packings[packing].suffix);
    return name;
}

static void packed_files_are_unpacked(void) {
    for (int i = 0; i < 2; i++) {
        const char *name = packed_name(i, "lines.jsonl");
        write_packed(name, two_lines, i), expect_documents(name, two_documents);
        write_packed(name, "", i), expect_documents(name, "");
        name = packed_name(i, "text.txt");
        write_packed(name, "\xEF\xBB\xBFplain\n", i), expect_documents(name, "[plain\n]");
        write_packed(name, "", i), expect_documents(name, "");
        EXPECT(found.passed_over.empty_documents == 1, "%s: %d empty documents", name, (int)found.passed_over.empty_documents);
        name = packed_name(i, "no suffix before");
        write_packed(name, "plain", i), expect_documents(name, "[plain]");
    }
}

static void lines_are_whole_wherever_blocks_end(void) {
    enum { LINES = 200, LONGEST = 50000 };
    random_key key = random_key_make(4, RANDOM_SAMPLE, 0, 0);
    buffer lines = {0}, expected = {0};
    for (int i = 0; i < LINES; i++) {
        buffer text = {0};
        uint64_t length = 1 + random_below(key, (uint64_t)i, LONGEST);
        for (uint64_t j = 0; j < length; j++) buffer_append_byte(&text, (char)('a' + (j * 7 + (uint64_t)i) % 26));
        buffer_printf(&lines, "{\"text\": \"%s\"}%s\n%s", text.bytes, i % 3 ? "" : "\r", i % 5 ? "" : "\n");
        buffer_printf(&expected, "[%s]", text.bytes);
        buffer_release(&text);
    }
    test_write_text("whole.jsonl", lines.bytes), expect_documents("whole.jsonl", expected.bytes);
    for (int i = 0; i < 2; i++) {
        write_packed(packed_name(i, "whole.jsonl"), lines.bytes, i);
        expect_documents(packed_name(i, "whole.jsonl"), expected.bytes);
    }
    buffer_release(&lines), buffer_release(&expected);
}

static void a_bad_line_of_a_packed_file_is_named(void) {
    for (int i = 0; i < 2; i++) {
        write_packed(packed_name(i, "bad.jsonl"), "{\"text\": \"a\"}\n[]\n", i);
        EXPECT_ERROR(visit(packed_name(i, "bad.jsonl")), LAMP_MALFORMED, "line 2: expected an object {...}, found an array");
    }
}

static void frames_and_members_follow_one_another(void) {
    for (int i = 0; i < 2; i++) {
        buffer packed = {0};
        packings[i].pack(&packed, two_lines, 10); /* a frame may end anywhere */
        packings[i].pack(&packed, "", 0);
        packings[i].pack(&packed, two_lines + 10, sizeof two_lines - 11);
        test_write(packed_name(i, "series.jsonl"), packed.bytes, packed.length);
        expect_documents(packed_name(i, "series.jsonl"), two_documents);
        buffer_release(&packed);
    }
}

static void skippable_frames_are_passed_over(void) {
    static const char skippable[] = "\x50\x2A\x4D\x18\x04\0\0\0skip";
    buffer packed = {0};
    buffer_append(&packed, skippable, sizeof skippable - 1);
    pack_zstd(&packed, two_lines, sizeof two_lines - 1);
    buffer_append(&packed, skippable, sizeof skippable - 1);
    test_write("skippable.jsonl.zst", packed.bytes, packed.length);
    expect_documents("skippable.jsonl.zst", two_documents);
    test_write("skippable.jsonl.zst", packed.bytes, packed.length - 1);
    EXPECT_ERROR(visit("skippable.jsonl.zst"), LAMP_MALFORMED, "the file ends inside a zstd frame");
    buffer_release(&packed);
}

static void a_packed_file_cut_off_anywhere_is_malformed(void) {
    for (int i = 0; i < 2; i++) {
        buffer packed = {0};
        packings[i].pack(&packed, two_lines, sizeof two_lines - 1);
        for (size_t length = 0; length < packed.length; length++) {
            test_write(packed_name(i, "cut.jsonl"), packed.bytes, length);
            EXPECT_ERROR(visit(packed_name(i, "cut.jsonl")), LAMP_MALFORMED,
                         length == 0 ? "found an empty file" : "it is cut off; fetch or pack it again");
            EXPECT_ERROR(visit_passing_over_bad_lines(packed_name(i, "cut.jsonl")), LAMP_MALFORMED, "cut.jsonl");
        }
        buffer_release(&packed);
    }
}

static void broken_packed_files_are_malformed(void) {
    for (int i = 0; i < 2; i++) {
        const char *name = packed_name(i, "broken.jsonl");
        const char *message = i == 0 ? "not sound zstd after " : "not sound gzip after ";
        buffer packed = {0};
        test_write_text(name, two_lines); /* not packed at all */
        EXPECT_ERROR(visit(name), LAMP_MALFORMED, message);
        packings[i].pack(&packed, two_lines, sizeof two_lines - 1);
        packed.bytes[packed.length - (i == 0 ? 1 : 5)] ^= 1; /* its checksum */
        test_write(name, packed.bytes, packed.length);
        EXPECT_ERROR(visit(name), LAMP_MALFORMED, i == 0 ? "checksum" : "incorrect data check");
        packed.bytes[packed.length - (i == 0 ? 1 : 5)] ^= 1;
        buffer_append_text(&packed, "what is this?");
        test_write(name, packed.bytes, packed.length);
        EXPECT_ERROR(visit(name), LAMP_MALFORMED, message);
        write_packed(packed_name(1 - i, "other.jsonl"), two_lines, i); /* the other packing */
        EXPECT_ERROR(visit(packed_name(1 - i, "other.jsonl")), LAMP_MALFORMED, i == 0 ? "not sound gzip" : "not sound zstd");
        buffer_release(&packed);
    }
}

/* Frames by hand (RFC 8878): magic, frame header, one raw block of the byte 'x'. */
static void frames_that_ask_for_too_much_are_unsupported(void) {
    static const struct {
        const char *bytes;
        size_t length;
        int status;
        const char *message;
    } frames[] = {
        {BYTES("\x28\xB5\x2F\xFD\x00\x88\x09\0\0x"), LAMP_OK, NULL}, /* a window of 128 MiB */
        {BYTES("\x28\xB5\x2F\xFD\x00\x89\x09\0\0x"), LAMP_UNSUPPORTED, "expected a zstd window of at most 128 MiB, found a larger one"},
        {BYTES("\x28\xB5\x2F\xFD\x00\xF8\x09\0\0x"), LAMP_UNSUPPORTED, "zstd"}, /* of 2 TiB */
        {BYTES("\x28\xB5\x2F\xFD\x01\x00\x07\x09\0\0x"), LAMP_UNSUPPORTED, "expected zstd without a dictionary"},
        {BYTES("\x28\xB5\x2F\xFD\x08\x00\x09\0\0x"), LAMP_UNSUPPORTED, "not supported"},                                 /* a reserved bit */
        {BYTES("\x28\xB5\x2F\xFD\x20\x05\x09\0\0x"), LAMP_MALFORMED, "not sound zstd"},                                  /* says it holds 5 bytes */
        {BYTES("\x28\xB5\x2F\xFD\xE0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F\x09\0\0x"), LAMP_UNSUPPORTED, "window of at most"}, /* or 8 EiB, at once */
        {BYTES("\x28\xB5\x2F\xFD\x00\x00\x0F\0\0x"), LAMP_MALFORMED, "not sound zstd"},                                  /* a reserved block type */
    };
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        test_write("frame.txt.zst", frames[i].bytes, frames[i].length);
        if (frames[i].status == LAMP_OK) expect_documents("frame.txt.zst", "[x]");
        else EXPECT_ERROR(visit("frame.txt.zst"), frames[i].status, frames[i].message);
    }
}

static void changed_bytes_never_do_worse_than_fail(void) {
    enum { ROUNDS = 1500 };
    for (int kind = 0; kind < 3; kind++) { /* zstd, gzip, lines */
        buffer sound = {0};
        if (kind < 2) packings[kind].pack(&sound, two_lines, sizeof two_lines - 1);
        else buffer_append_text(&sound, two_lines);
        const char *name = kind < 2 ? packed_name(kind, "changed.jsonl") : "changed.jsonl";
        for (int i = 0; i < ROUNDS; i++) {
            random_key key = random_key_make(3, RANDOM_SAMPLE, (uint64_t)kind, (uint64_t)i);
            buffer changed = {0};
            buffer_append(&changed, sound.bytes, sound.length);
            for (uint64_t j = 0; j <= random_below(key, 0, 3); j++)
                changed.bytes[random_below(key, 2 * j + 1, sound.length)] = (char)random_below(key, 2 * j + 2, 256);
            test_write(name, changed.bytes, changed.length);
            int status = visit(name);
            EXPECT(status == LAMP_OK || status == LAMP_MALFORMED || status == LAMP_UNSUPPORTED, "%s, round %d: %s", name, i, lamp_error_message());
            status = visit_passing_over_bad_lines(name);
            EXPECT(status == LAMP_OK || (kind < 2 && (status == LAMP_MALFORMED || status == LAMP_UNSUPPORTED)), "%s, round %d: %s", name, i,
                   lamp_error_message());
            buffer_release(&changed);
        }
        buffer_release(&sound);
    }
}

/* ---- what is no file ------------------------------------------------------------------------------------------------------------- */

static void pipes_and_devices_are_no_files(void) {
    unpacked_file *file;
    char path[PATH_BYTES];
    test_write_text("special/a.txt", "a");
    EXPECT(mkfifo(test_path("special/pipe"), 0600) == 0, "no pipe could be made");
    strcpy(path, test_path("special/a.txt"));
    EXPECT(symlink(path, test_path("special/link")) == 0, "no link could be made");
    expect_documents("special", "[a]");
    expect_documents("special/link", "[a]");
    EXPECT_ERROR(visit("special/pipe"), LAMP_IO, "expected a file or a folder, found a pipe or a device");
    EXPECT_ERROR(unpacked_open(&file, test_path("special/pipe"), "pipe"), LAMP_IO, "pipe: expected a file, found something else");
    clear(&found);
    corpus_reading reading = {.path = "/dev/zero", .field = "text", .visit = find_document, .context = &found};
    EXPECT_ERROR(corpus_visit(&reading, &found.passed_over), LAMP_IO, "/dev/zero: expected a file or a folder");
}

static int cut_off(void *context, const char *bytes, size_t length) {
    EXPECT(truncate(context, 0) == 0, "the file cannot be cut off");
    return find_document(&found, bytes, length);
}

static void a_file_may_shrink_while_it_is_read(void) {
    char path[PATH_BYTES];
    buffer text = {0};
    while (text.length < 4 << 20) buffer_append_text(&text, two_lines);
    test_write("shrinks.jsonl", text.bytes, text.length);
    strcpy(path, test_path("shrinks.jsonl"));
    clear(&found);
    corpus_reading reading = {.path = path, .field = "text", .visit = cut_off, .context = path};
    int status = corpus_visit(&reading, &found.passed_over);
    EXPECT((status == LAMP_OK || status == LAMP_MALFORMED) && found.n > 0, "%s", lamp_error_message()); /* the last line may be half there */
    buffer_release(&text);
}

static void release_findings(void) { clear(&found); }

static const test_case cases[] = {
    {"a decompression bomb is refused in bounded memory", a_decompression_bomb_is_refused_in_bounded_memory},
    {"documents are found in folders and lines", documents_are_found_in_folders_and_lines},
    {"line ends and byte order marks are no text", line_ends_and_byte_order_marks_are_no_text},
    {"the field is chosen by name", the_field_is_chosen_by_name},
    {"every bad line is named", every_bad_line_is_named},
    {"a line of too many values is unsupported", a_line_of_too_many_values_is_unsupported},
    {"a line nested too deep is unsupported", a_line_nested_too_deep_is_unsupported},
    {"a number of many digits is unsupported", a_number_of_many_digits_is_unsupported},
    {"a line of more than 16 MiB is unsupported", a_line_of_more_than_16_mib_is_unsupported},
    {"plain text is any bytes", plain_text_is_any_bytes},
    {"books are cut at blank lines", books_are_cut_at_blank_lines},
    {"packed files are unpacked", packed_files_are_unpacked},
    {"lines are whole wherever blocks end", lines_are_whole_wherever_blocks_end},
    {"a bad line of a packed file is named", a_bad_line_of_a_packed_file_is_named},
    {"frames and members follow one another", frames_and_members_follow_one_another},
    {"skippable frames are passed over", skippable_frames_are_passed_over},
    {"a packed file cut off anywhere is malformed", a_packed_file_cut_off_anywhere_is_malformed},
    {"broken packed files are malformed", broken_packed_files_are_malformed},
    {"frames that ask for too much are unsupported", frames_that_ask_for_too_much_are_unsupported},
    {"changed bytes never do worse than fail", changed_bytes_never_do_worse_than_fail},
    {"pipes and devices are no files", pipes_and_devices_are_no_files},
    {"a file may shrink while it is read", a_file_may_shrink_while_it_is_read},
    {"what was found is released", release_findings},
};

int main(void) { return test_run("corpus", cases, sizeof cases / sizeof *cases); }
