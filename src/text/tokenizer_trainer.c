/* Text is cut as the vocabulary will cut it, and its pieces are counted once per distinct piece. */
#include "base/error.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "text/piece_counts.h"
#include "text/pretokenizer.h"

enum { LONGEST_PIECE = 256, PIECES_PER_CHECK = 1 << 20 };

struct tokenizer_trainer {
    vocabulary_kind kind;
    pretokenizer_step step;
    pretokenizer *pretokenizer;
    piece_counts counts;
    int64_t n_seen;
};

int tokenizer_trainer_new(tokenizer_trainer **result, vocabulary_kind kind) {
    int status = LAMP_OK;
    tokenizer_trainer *trainer = NULL;
    TRY_TO(done, memory_new(&trainer, 1, sizeof *trainer, "a tokenizer's trainer"));
    trainer->kind = kind;
    trainer->step = kind == VOCABULARY_OF_WORDS ? word_step : merge_step;
    TRY_TO(done, pretokenizer_new(&trainer->pretokenizer, &trainer->step, 1));
    *result = trainer;
    trainer = NULL;
done:
    tokenizer_trainer_free(trainer);
    return status;
}

void tokenizer_trainer_free(tokenizer_trainer *trainer) {
    if (!trainer) return;
    piece_counts_release(&trainer->counts);
    pretokenizer_free(trainer->pretokenizer);
    memory_free(trainer);
}

int tokenizer_trainer_feed(tokenizer_trainer *trainer, const char *bytes, size_t length) {
    piece p;
    int more;
    trainer->counts.documents++;
    TRY(pretokenizer_begin(trainer->pretokenizer, bytes, length, true));
    while ((more = pretokenizer_next(trainer->pretokenizer, &p)) > 0) {
        for (; p.length > LONGEST_PIECE; p.bytes += LONGEST_PIECE, p.length -= LONGEST_PIECE)
            TRY(piece_counts_add(&trainer->counts, p.bytes, LONGEST_PIECE));
        TRY(piece_counts_add(&trainer->counts, p.bytes, p.length));
        if (++trainer->n_seen % PIECES_PER_CHECK == 0) TRY(interrupt_check("counting the pieces of text"));
    }
    return more;
}

int tokenizer_trainer_finish(tokenizer **t, tokenizer_trainer *trainer, int vocabulary_size) {
    return trainer->kind == VOCABULARY_OF_WORDS ? words_choose(t, &trainer->counts, vocabulary_size)
                                                : merges_learn(t, &trainer->counts, vocabulary_size);
}
