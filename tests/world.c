#include "world.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/random.h"
#include "data/dataset_build.h"
#include "test.h"

const char *world_path(char path[PATH_BYTES], const char *name) {
    EXPECT_OK(file_join(path, test_folder(), name));
    return path;
}

void world_write_domain(const char *name, uint64_t seed, int documents, int words) {
    static const char syllables[][4] = {"la", "mo", "ri", "tek", "su", "van", "do", "pel"};
    char path[PATH_BYTES], file[64];
    random_key key = random_key_make(seed, RANDOM_ORDER, 0, 0);
    uint64_t drawn = 0;
    EXPECT_OK(file_make_folder(world_path(path, name)));
    for (int i = 0; i < documents; i++) {
        buffer text = {0};
        for (int j = 0; j < words; j++) {
            uint64_t bits = random_bits(key, drawn++);
            buffer_printf(&text, "%s%s%s%s", syllables[bits % 8], syllables[(bits >> 8) % 4 + seed % 4],
                          bits >> 63 ? syllables[(bits >> 16) % 8] : "", (bits >> 32) % 9 ? " " : ".\n");
        }
        snprintf(file, sizeof file, "%s/%d.txt", name, i);
        EXPECT_OK(file_write_whole(world_path(path, file), text.bytes, text.length));
        buffer_release(&text);
    }
}

void world_build_dataset(const char *out, int n_domains, const char *const *domains, int vocabulary) {
    char paths[3][PATH_BYTES], folder[PATH_BYTES];
    dataset_build_options options;
    dataset_build_report report;
    dataset_build_defaults(&options);
    options.out = world_path(folder, out), options.n_domains = n_domains, options.vocabulary_size = vocabulary;
    for (int i = 0; i < n_domains; i++) options.domain[i].name = domains[i], options.domain[i].path = world_path(paths[i], domains[i]);
    EXPECT_OK(dataset_build(&options, &report));
}

const char *world_data(void) {
    static char path[PATH_BYTES];
    if (*path) return path;
    world_write_domain("river", 1, 12, 300), world_write_domain("stone", 2, 6, 300);
    world_build_dataset("data", 2, (const char *const[]){"river", "stone"}, 320);
    return world_path(path, "data");
}

recipe world_recipe(const char *family) {
    recipe r;
    memset(&r, 0, sizeof r);
    options_set_defaults(&recipe_options, &r);
    bool dense = !strcmp(family, "llama") || !strcmp(family, "qwen3");
    strcpy(r.model.family, family);
    strcpy(r.data_path, world_data());
    r.model.hidden_size = 16, r.model.intermediate_size = 24, r.model.num_hidden_layers = 2, r.model.max_position_embeddings = 16;
    r.model.num_attention_heads = 4, r.model.num_key_value_heads = 2;
    if (!strcmp(family, "lstm_moe"))
        r.model.num_hidden_layers = 3, r.model.sparse_step = 2, r.model.num_attention_heads = r.model.num_key_value_heads = 0;
    r.model.moe.experts = dense ? 1 : 4, r.model.moe.top_k = dense ? 1 : 2,
    r.model.moe.normalize = !strcmp(family, "mixtral") || !strcmp(family, "gpt_oss");
    r.model.initializer_range = 0.1;
    r.batch_tokens = 128, r.steps = 20, r.threads = 1;
    r.checkpoint_every = r.eval_every = 0, r.eval_tokens = 64;
    return r;
}

dataset *world_open(const char *path) {
    dataset *d = NULL;
    EXPECT_OK(dataset_open(&d, path));
    return d;
}
