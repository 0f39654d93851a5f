/* tokenizer.json of a tokenizer that was not read from one, in the form that the library itself writes. */
#include "base/error.h"
#include "base/file.h"
#include "formats/tokenizer_json.h"
#include "formats/tokenizer_sections.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer_parts.h"

static void put_added_tokens(json_writer *w, const tokenizer *t) {
    json_begin_array(w, "added_tokens");
    for (int id = 0; id < t->size; id++) {
        const token *added = &t->tokens[id];
        if (added->kind == TOKEN_TEXT) continue;
        json_begin_object(w, NULL);
        json_put_integer(w, "id", id);
        json_put_bytes(w, "content", t->text.bytes + added->start, added->length);
        json_put_bool(w, "single_word", added->traits & TRAIT_WORD);
        json_put_bool(w, "lstrip", added->traits & TRAIT_LEFT);
        json_put_bool(w, "rstrip", added->traits & TRAIT_RIGHT);
        json_put_bool(w, "normalized", added->traits & TRAIT_NORMALIZED);
        json_put_bool(w, "special", added->kind == TOKEN_SPECIAL);
        json_end_object(w);
    }
    json_end_array(w);
}

static const char *spell(buffer *spelling, const tokenizer *t, int32_t id) {
    const token *spelt = &t->tokens[id];
    const char *bytes = t->text.bytes + spelt->start;
    spelling->length = 0;
    if (spelt->kind == TOKEN_TEXT && t->kind == VOCABULARY_OF_BYTES) byte_alphabet_spell(spelling, bytes, spelt->length);
    else buffer_append(spelling, bytes, spelt->length);
    return spelling->status < 0 ? "" : spelling->bytes;
}

static void put_vocabulary(json_writer *w, buffer *spelling, const tokenizer *t) {
    json_begin_object(w, "vocab");
    for (int id = 0; id < t->size; id++)
        if (!(t->tokens[id].traits & TRAIT_OUTSIDE)) json_put_integer(w, spell(spelling, t, id), id);
    json_end_object(w);
}

static void put_merges(json_writer *w, buffer *spelling, const tokenizer *t) {
    json_begin_array(w, "merges");
    for (int rank = 0; rank < t->n_merges; rank++) {
        json_begin_array(w, NULL);
        json_put_text(w, NULL, spell(spelling, t, t->merges[rank].left));
        json_put_text(w, NULL, spell(spelling, t, t->merges[rank].right));
        json_end_array(w);
    }
    json_end_array(w);
}

static void put_unknown(json_writer *w, buffer *spelling, const tokenizer *t) {
    if (t->unknown >= 0) json_put_text(w, "unk_token", spell(spelling, t, t->unknown));
    else json_put_null(w, "unk_token");
}

static int put_model(json_writer *w, const tokenizer *t) {
    bool is_words = t->kind == VOCABULARY_OF_WORDS;
    buffer spelling = {0};
    json_begin_object(w, "model");
    json_put_text(w, "type", is_words ? "WordLevel" : "BPE");
    if (!is_words) {
        json_put_null(w, "dropout");
        put_unknown(w, &spelling, t);
        json_put_null(w, "continuing_subword_prefix");
        json_put_null(w, "end_of_word_suffix");
        json_put_bool(w, "fuse_unk", t->fuse_unknown);
        json_put_bool(w, "byte_fallback", t->byte_fallback);
        json_put_bool(w, "ignore_merges", t->ignore_merges);
    }
    put_vocabulary(w, &spelling, t);
    if (is_words) put_unknown(w, &spelling, t);
    else put_merges(w, &spelling, t);
    json_end_object(w);
    int status = spelling.status;
    buffer_release(&spelling);
    return status;
}

static int put_all(buffer *text, const tokenizer *t) {
    json_writer w = {text, .indented = true};
    json_begin_object(&w, NULL);
    json_put_text(&w, "version", "1.0");
    json_put_null(&w, "truncation");
    json_put_null(&w, "padding");
    put_added_tokens(&w, t);
    tokenizer_write_normalizer(&w, t);
    TRY(tokenizer_write_pretokenizer(&w, t));
    TRY(tokenizer_write_template(&w, t));
    tokenizer_write_decoder(&w, t);
    TRY(put_model(&w, t));
    json_end_object(&w);
    return buffer_append_byte(text, '\n');
}

int tokenizer_json_write(const tokenizer *t, const char *path) {
    buffer text = {0};
    if (t->source.length > 0) return file_write_whole(path, t->source.bytes, t->source.length);
    int status = put_all(&text, t);
    if (status >= 0) status = file_write_whole(path, text.bytes, text.length);
    buffer_release(&text);
    return status;
}
