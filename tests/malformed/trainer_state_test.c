/* Every way what a run goes on from can be wrong, by name: the counts and places of trainer.json, values that are no numbers, another
 * process, logs whose last line is torn. One run is made; a shell command spoils a copy of its checkpoint each time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "../world.h"
#include "base/error.h"
#include "formats/checkpoint.h"
#include "train/run_folder.h"
#include "train/trainer.h"

/* ---- runs of one step ------------------------------------------------------------------------------------------------------------ */

static dataset *data;
static recipe small, carrying;
static char run[PATH_BYTES], checkpoint_folder[PATH_BYTES], carrying_folder[PATH_BYTES], spoilt[PATH_BYTES];

static void run_one_step(char newest[PATH_BYTES], const recipe *r, const char *name) {
    trainer tr;
    step_report report;
    EXPECT_OK(trainer_open(&tr, r, data));
    EXPECT_OK(trainer_step(&tr, &report));
    EXPECT_OK(trainer_save(&tr, name));
    trainer_close(&tr);
    EXPECT_OK(checkpoint_resolve(newest, name));
}

static void make_runs(void) {
    char other[PATH_BYTES];
    small = world_recipe("olmoe"), carrying = world_recipe("lstm_moe");
    strcpy(small.optimizer.experts, "factored"); /* experts count their own steps */
    data = world_open(small.data_path);
    world_path(spoilt, "spoilt");
    run_one_step(checkpoint_folder, &small, world_path(run, "run"));
    run_one_step(carrying_folder, &carrying, world_path(other, "carrying"));
}

/* What resuming says of a copy in which a command of the shell was run. */
static int resume_spoilt_of(const recipe *r, const char *folder, const char *command) {
    char line[4 * PATH_BYTES];
    trainer tr;
    snprintf(line, sizeof line, "rm -rf '%s' && cp -r '%s' '%s' && cd '%s' && %s", spoilt, folder, spoilt, spoilt, command);
    EXPECT(!system(line), "%s", line);
    EXPECT_OK(trainer_open(&tr, r, data));
    int status = trainer_resume(&tr, spoilt);
    trainer_close(&tr);
    return status;
}

static int resume_spoilt(const char *command) { return resume_spoilt_of(&small, checkpoint_folder, command); }

/* ---- what is spoilt --------------------------------------------------------------------------------------------------------------- */

#define IN(file, from, to) "rm manifest.json && sed -i 's/" from "/" to "/' " file
#define STATE(from, to) IN("trainer.json", from, to)
#define COUNT(key, value) STATE("\"" key "\": [0-9]*", "\"" key "\": " value)
#define LAST_VALUE(file, bytes) "rm manifest.json && printf '" bytes "' | dd of=" file " bs=1 conv=notrunc seek=$(($(stat -c %s " file ") - 4)) 2>/dev/null"

static const struct {
    const char *class, *command;
    int code;
    const char *text;
} rows[] = {
    {"nothing wrong", "true", LAMP_OK, ""},
    {"step 2^63 - 1", COUNT("step", "9223372036854775807"), LAMP_MALFORMED, "\"step\": expected 0 to 9007199254740992, found 9223372036854775807"},
    {"step 2^63", COUNT("step", "9223372036854775808"), LAMP_MALFORMED, "not valid JSON"},
    {"step -1", COUNT("step", "-1"), LAMP_MALFORMED, "\"step\": expected 0 to"},
    {"tokens 2^63 - 1", COUNT("tokens", "9223372036854775807"), LAMP_MALFORMED, "\"tokens\": expected 0 to"},
    {"optimiser's steps 2^63 - 1", COUNT("optimizer_steps", "9223372036854775807"), LAMP_MALFORMED, "\"optimizer_steps\": expected 0 to"},
    {"an expert's steps 2^63 - 1", "rm manifest.json && sed -i '/\"expert_steps\"/{n;s/[0-9][0-9]*/9223372036854775807/}' trainer.json",
     LAMP_MALFORMED, "\"expert_steps\"[0]: expected a count"},
    {"steps of too few experts", "rm manifest.json && sed -i '/\"expert_steps\"/{n;d}' trainer.json", LAMP_MALFORMED, "\"expert_steps\": expected "},
    {"bad steps 2^31", COUNT("bad_steps", "2147483648"), LAMP_MALFORMED, "\"bad_steps\": expected 0 to 1000"},
    {"seconds below 0", STATE("\"seconds\": ", "\"seconds\": -"), LAMP_MALFORMED, "\"seconds\": expected 0 or more, found -"},
    {"seconds that are text", STATE("\"seconds\": .*,", "\"seconds\": \"1\","), LAMP_MALFORMED, "\"seconds\": expected a number, found text"},
    {"loss that is no number", "rm manifest.json && sed -i '/\"losses\"/{n;s/[0-9].*/null/}' trainer.json", LAMP_MALFORMED,
     "\"losses\"[0]: expected a number"},
    {"newer version", COUNT("version", "2"), LAMP_UNSUPPORTED, "\"version\": expected at most 1, found 2: of a newer Lamplighter"},
    {"version 0", COUNT("version", "0"), LAMP_MALFORMED, "\"version\": expected 1 to"},
    {"hash of the data changed", STATE("\"dataset\": \"", "\"dataset\": \"0"), LAMP_CHECKPOINT, "; point data.path at the same dataset"},
    {"hash of the data absent", STATE("\"dataset\"", "\"data\""), LAMP_MALFORMED, "\"dataset\": expected text, found nothing"},
    {"data position of 2^63 - 1 sequences", COUNT("sequence", "9223372036854775807"), LAMP_MALFORMED, "\"sequence\": expected 0 to"},
    {"domain beyond the sequences drawn", COUNT("river", "9"), LAMP_CHECKPOINT, "data position: 9 stretches of domain 0 do not fit this dataset"},
    {"sequences of no domain", COUNT("river", "0"), LAMP_CHECKPOINT, " of 8 sequences belong to no domain"},
    {"domain absent", STATE("\"river\"", "\"road\""), LAMP_MALFORMED, "\"river\": expected an integer, found nothing"},
    {"state cut short", "rm manifest.json && truncate -s 100 trainer.json", LAMP_MALFORMED, "trainer.json: line "},
    {"state absent", "rm manifest.json trainer.json", LAMP_CHECKPOINT, "expected the trainer's state, found nothing"},
    {"optimiser absent", "rm manifest.json optimizer.safetensors", LAMP_CHECKPOINT, "expected the optimiser's state, found nothing"},
    {"another tokenizer", "echo '{}' > tokenizer.json", LAMP_CHECKPOINT, "tokenizer.json: "},
    {"NaN inside the weights", LAST_VALUE("model.safetensors", "\\0\\0\\300\\177"), LAMP_MALFORMED,
     "tensor lm_head.weight: expected finite numbers, found nan at place "},
    {"infinity inside the weights", LAST_VALUE("model.safetensors", "\\0\\0\\200\\377"), LAMP_MALFORMED,
     "expected finite numbers, found -inf at place "},
    {"NaN inside the moments", LAST_VALUE("optimizer.safetensors", "\\0\\0\\300\\177"), LAMP_MALFORMED, "optimizer.safetensors: tensor "},
};

static void malformed_states_are_refused_by_name(void) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        test_row(rows[i].class);
        EXPECT_ERROR(resume_spoilt(rows[i].command), rows[i].code, rows[i].text);
    }
}

/* Of a model that carries on what its streams have read. */
static void malformed_memories_are_refused_by_name(void) {
    static const struct {
        const char *class, *command;
        int code;
        const char *text;
    } memories[] = {
        {"nothing wrong", "true", LAMP_OK, ""},
        {"memory absent", "rm manifest.json memory.safetensors", LAMP_CHECKPOINT, "expected what the model carries on, found nothing"},
        {"NaN inside", LAST_VALUE("memory.safetensors", "\\0\\0\\300\\177"), LAMP_MALFORMED,
         "tensor cell.layers.2: expected finite numbers, found nan at place"},
        {"of another layer", IN("memory.safetensors", "cell.layers.2", "cell.layers.1"), LAMP_MALFORMED,
         "tensor cell.layers.2: expected [8, 16], found nothing"},
        {"of fewer streams", IN("memory.safetensors", "\\[8, 16\\]", "[4, 32]"), LAMP_MALFORMED,
         "tensor hidden.layers.0: expected [8, 16], found [4, 32]"},
        {"cut short", "rm manifest.json && truncate -s -4 memory.safetensors", LAMP_MALFORMED, "memory.safetensors: "},
        {"nothing in it", "rm manifest.json && : > memory.safetensors", LAMP_MALFORMED, "memory.safetensors: "},
    };
    for (size_t i = 0; i < sizeof memories / sizeof *memories; i++) {
        test_row(memories[i].class);
        EXPECT_ERROR(resume_spoilt_of(&carrying, carrying_folder, memories[i].command), memories[i].code, memories[i].text);
    }
}

static void a_state_at_its_bound_does_not_overflow(void) {
    trainer tr;
    step_report report;
    EXPECT_OK(resume_spoilt(COUNT("step", "9007199254740992") " && sed -i 's/\"\\(tokens\\|optimizer_steps\\)\": [0-9]*/\"\\1\": 9007199254740992/' "
                                                              "trainer.json"));
    EXPECT_OK(trainer_open(&tr, &small, data));
    EXPECT_OK(trainer_resume(&tr, spoilt));
    EXPECT_OK(trainer_step(&tr, &report));
    EXPECT(report.step == (INT64_C(1) << 53) + 1 && report.used == 1, "step %lld, used %g", (long long)report.step, report.used);
    trainer_close(&tr);
}

static void two_processes_cannot_write_one_run(void) {
    run_folder first, second;
    bool resume;
    EXPECT_OK(run_folder_open(&first, run, &small, "lamp", &resume));
    EXPECT_ERROR(run_folder_open(&second, run, &small, "lamp", &resume), LAMP_FAILURE, "run: another lamp is training this run");
    run_folder_close(&first);
    EXPECT_OK(run_folder_open(&second, run, &small, "lamp", &resume));
    EXPECT(resume, "the checkpoint was not seen");
    run_folder_close(&second);
}

/* What a log holds after its run was opened and closed again. */
static void expect_log(const char *before, const char *after) {
    run_folder folder;
    bool resume;
    buffer found = {0};
    test_write_text("run/metrics.jsonl", before);
    EXPECT_OK(run_folder_open(&folder, run, &small, "lamp", &resume));
    run_folder_close(&folder);
    EXPECT_OK(file_read(&found, test_path("run/metrics.jsonl"), 1 << 20));
    EXPECT(!strcmp(found.bytes, after), "found \"%s\"", found.bytes);
    buffer_release(&found);
}

static void a_torn_last_line_is_cut_off(void) {
    test_row("torn");
    expect_log("{\"step\": 1}\n{\"step\": 2}\n{\"st", "{\"step\": 1}\n{\"step\": 2}\n");
    test_row("whole");
    expect_log("{\"step\": 1}\n", "{\"step\": 1}\n");
    test_row("nothing but a torn line");
    expect_log("{\"step\": 1}", "");
    test_row("empty");
    expect_log("", "");
    dataset_free(data);
}

static const test_case cases[] = {
    {"runs are made", make_runs},
    {"malformed states are refused by name", malformed_states_are_refused_by_name},
    {"malformed memories are refused by name", malformed_memories_are_refused_by_name},
    {"a state at its bound does not overflow", a_state_at_its_bound_does_not_overflow},
    {"two processes cannot write one run", two_processes_cannot_write_one_run},
    {"a torn last line is cut off", a_torn_last_line_is_cut_off},
};

int main(void) { return test_run("malformed trainer state", cases, sizeof cases / sizeof *cases); }
