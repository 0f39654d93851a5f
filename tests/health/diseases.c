/* The doctor's proof: runs that are made ill on purpose, runs that fall ill by themselves, and healthy ones, with what the doctor says of each.
 *
 *     diseases list               the names, in an order in which each may begin with the weights of one before it
 *     diseases run NAME FOLDER SEED
 *                                 trains FOLDER/NAME on FOLDER/data, and harms it as its row says; nothing is done where it is finished
 *     diseases report FOLDER      reads the logs of all that are finished to the doctor as it is now: the tables of docs/doctor.md
 *
 * tools/doctor.sh runs them all. A patient is a row: what its recipe changes of recipes/balance/base.ini, what is done to it from which step on,
 * and what the doctor should find. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/random.h"
#include "health/conditions.h"
#include "train/checkup.h"
#include "train/train.h"

/* ---- harms: called before each step from the onset on; age counts from 0 ---------------------------------------------------------- */

enum { VICTIM = 3 /* an expert of the last layer */, OTHER = 5 };

static weight *find_weight(const trainer *tr, const char *kind, int layer) {
    for (int i = 0; i < tr->model.weights.n; i++)
        if (!strcmp(tr->model.weights.row[i]->kind, kind) && tr->model.weights.row[i]->layer == layer) return tr->model.weights.row[i];
    CHECK(false, "no %s in layer %d", kind, layer);
}

static int last_layer(const trainer *tr) { return (int)tr->model.config.num_hidden_layers - 1; }

static void shake(trainer *tr, int64_t age, weight_role role, double share) {
    for (int i = 0; i < tr->model.weights.n; i++) {
        weight *w = tr->model.weights.row[i];
        random_key key = random_key_make((uint64_t)age, RANDOM_SHUFFLE, (uint64_t)i, 0);
        if (w->role != role) continue;
        for (ptrdiff_t j = 0; j < weight_size(w); j++) w->value[0][j] += (real)(share * w->deviation * random_normal(key, (uint64_t)j));
    }
}

static void lose_the_balance(trainer *tr, int64_t age) {
    (void)age;
    memset(tr->model.config.moe.balance, 0, sizeof tr->model.config.moe.balance);
}

static void raise_the_rate(trainer *tr, int64_t age) {
    if (age == 0) tr->recipe.schedule.learning_rate *= 30;
}

static void blow_up_routers(trainer *tr, int64_t age) {
    for (int l = 0; l <= last_layer(tr) && age < 60; l++) {
        weight *w = find_weight(tr, "moe.router", l);
        for (ptrdiff_t i = 0; i < weight_size(w); i++) w->value[0][i] *= (real)1.05;
    }
}

/* The weight of a token's only expert, scaled to one, is a constant, of which a router learns nothing. */
static void weigh_by_one(trainer *tr, int64_t age) {
    lose_the_balance(tr, age);
    tr->model.config.moe.normalize = true;
}

static void overdrive_the_bias(trainer *tr, int64_t age) {
    (void)age;
    tr->model.config.moe.bias_rate = 0.3;
}

/* The bias only decides who is chosen; scores lie between 0 and 1. */
static void shut_an_expert_out(trainer *tr, int64_t age) {
    (void)age;
    find_weight(tr, "moe.router_bias", last_layer(tr))->value[0][VICTIM] = (real)-1.5;
}

static void clone_an_expert(trainer *tr, int64_t age) {
    static const char *const kinds[] = {"moe.gate", "moe.up", "moe.down"};
    weight *router = find_weight(tr, "moe.router", last_layer(tr));
    if (age > 0) return;
    for (int i = 0; i < 3; i++) {
        weight *w = find_weight(tr, kinds[i], last_layer(tr));
        memcpy(w->value[OTHER], w->value[VICTIM], (size_t)(w->out * w->in) * sizeof(real));
    }
    memcpy(router->value[0] + OTHER * router->in, router->value[0] + VICTIM * router->in, (size_t)router->in * sizeof(real));
}

static void break_one_step(trainer *tr, int64_t age) {
    static real whole;
    real *value = find_weight(tr, "moe.up", 0)->value[0];
    if (age == 0) whole = *value, *value = (real)NAN;
    if (age == 1) *value = whole;
}

static void shake_experts_once(trainer *tr, int64_t age) {
    if (age == 0) shake(tr, age, ROLE_EXPERT, 10);
}

static void rot(trainer *tr, int64_t age) {
    shake(tr, age, ROLE_EXPERT, 0.6), shake(tr, age, ROLE_MATRIX, 0.6);
}

/* ---- patients ----------------------------------------------------------------------------------------------------------------- */

enum { ONSET = 250, PROBE = 200, MOST_STEPS = 2000, MOST_LAYERS = 8 };

#define PLANTED "train.steps=500 optim.schedule=wsd balance.switch=0.01 "
#define BY_ITSELF "train.steps=500 "
#define FILLED "data.path=@data-with-filling "

static const struct patient_row {
    const char *name;
    const char *settings; /* @NAME: the run of another patient */
    void (*harm)(trainer *tr, int64_t age);
    int64_t onset;           /* 0: ill from its first step; of the healthy it means nothing */
    const char *condition;   /* NULL: healthy */
    const char *companions;  /* what may rightly come with it */
} patients[] = {
    {"softmax, Switch loss", "balance.switch=0.01", NULL, 0, NULL, ""},
    {"noisy top-k, losses of 2017", "router.kind=noisy_top_k balance.importance=0.1 balance.load=0.1", NULL, 0, NULL, ""},
    {"sigmoid, loss-free bias", "router.kind=sigmoid balance.bias_rate=0.01", NULL, 0, NULL, ""},
    {"Switch top-1, room 3", "router.kind=switch router.top_k=1 router.normalize=false balance.switch=0.1 router.capacity=3", NULL, 0, NULL, ""},
    {"GShard, room 2", "router.kind=gshard balance.switch=0.1 router.capacity=2", NULL, 0, NULL, ""},
    {"hierarchical, losses of 2017", "router.kind=hierarchical router.groups=4 balance.importance=0.1 balance.load=0.1", NULL, 0, NULL, ""},
    {"batchwise", "router.kind=batchwise balance.importance=0.1", NULL, 0, NULL, ""},
    {"expert choice", "router.kind=expert_choice router.normalize=false", NULL, 0, NULL, ""},
    {"hash", "router.kind=hash", NULL, 0, NULL, ""},
    {"random", "router.kind=random", NULL, 0, NULL, ""},
    {"dense", "model.family=llama router.experts=1 router.top_k=1", NULL, 0, NULL, ""},
    {"shared expert", "model.n_shared_experts=1 balance.switch=0.01", NULL, 0, NULL, ""},
    {"64 fine experts, 8 a token", "router.experts=64 router.top_k=8 model.intermediate_size=16 balance.switch=0.01", NULL, 0, NULL, ""},
    {"upcycled with noise", "model.family=mixtral balance.switch=0.01 train.initial=@mixture-noise-0.7 optim.learning_rate=0.003", NULL, 0, NULL, ""},

    {"a step with NaN", PLANTED, break_one_step, ONSET, "not_finite", ""},
    {"weights that rot", PLANTED, rot, ONSET, "diverging_loss", "loss_spike"},
    {"learning rate x 30", PLANTED "optim.clip=0", raise_the_rate, ONSET, "restart_damage",
     "diverging_loss loss_spike stalled_loss exploding_logits dead_experts lopsided_importance drifted_balance"},
    {"experts shaken once", PLANTED, shake_experts_once, ONSET, "loss_spike", "diverging_loss"},
    {"router weights that grow", PLANTED, blow_up_routers, ONSET, "exploding_logits", "frozen_routing drifted_balance lopsided_load lopsided_importance"},
    {"an expert shut out", PLANTED "router.kind=sigmoid balance.bias_rate=0.01 balance.switch=0", shut_an_expert_out, ONSET, "dead_experts", "drifted_balance"},
    {"weights fixed at one", PLANTED "router.top_k=1 router.normalize=false", weigh_by_one, PROBE + 1, "frozen_routing", "drifted_balance lopsided_importance dead_experts"},
    {"an expert cloned", PLANTED, clone_an_expert, ONSET, "duplicate_experts", ""},
    {"a bias that overshoots", PLANTED "router.kind=sigmoid balance.bias_rate=0.01 balance.switch=0", overdrive_the_bias, ONSET, "drifted_balance",
     "lopsided_importance dead_experts"},
    {"balance loss switched off", PLANTED "train.steps=1000", lose_the_balance, ONSET, "drifted_balance", "lopsided_importance dead_experts"},

    {"no balance at all", BY_ITSELF, NULL, 0, "lopsided_importance", "dead_experts"},
    {"no balance, sigmoid", BY_ITSELF "router.kind=sigmoid", NULL, 0, "lopsided_importance", "dead_experts"},
    {"importance loss only, 4 tokens in 10 alike",
     BY_ITSELF FILLED "balance.importance=1 router.normalize=false data.mixture.dictionary=1 data.mixture.french=1 data.mixture.literature=1 "
               "data.mixture.manual=1 data.mixture.mathematics=1 data.mixture.python=1 data.mixture.filling=4",
     NULL, 0, "lopsided_load", "captured_domain lopsided_importance dead_experts drifted_balance"},
    {"no balance, room 1", BY_ITSELF "router.capacity=1", NULL, 0, "drops", "lopsided_importance dead_experts"},
    {"importance loss 0.1", "balance.importance=0.1", NULL, 0, "dead_experts", ""},
    {"Switch top-1, loss 0.01, room 2", "router.kind=switch router.top_k=1 router.normalize=false balance.switch=0.01 router.capacity=2", NULL, 0, "drops", ""},
    {"GShard, loss 0.01, room 2", "router.kind=gshard balance.switch=0.01 router.capacity=2", NULL, 0, "drops", ""},
    {"Switch loss 10", BY_ITSELF "balance.switch=10", NULL, 0, "uniform_routing", "drifted_balance"},
    {"top-1, normalised", BY_ITSELF "router.top_k=1", NULL, 0, "frozen_routing", "lopsided_importance dead_experts"},
    {"learning rate 1e-7", BY_ITSELF "balance.switch=0.01 optim.learning_rate=1e-7", NULL, 0, "stalled_loss", "frozen_routing lopsided_importance"},
    {"learning rate 1, no clip", BY_ITSELF "balance.switch=0.01 optim.learning_rate=1 optim.clip=0", NULL, 0, "exploding_logits",
     "diverging_loss stalled_loss restart_damage dead_experts lopsided_importance frozen_routing drifted_balance"},
    {"learning rate that climbs to 1", BY_ITSELF "balance.switch=0.01 optim.learning_rate=1 optim.clip=0 optim.warmup=1", NULL, 300 /* the loss begins to rise */, "diverging_loss",
     "restart_damage exploding_logits dead_experts lopsided_importance stalled_loss loss_spike drifted_balance"},
    {"restart at ten times the rate", BY_ITSELF "balance.switch=0.01 train.initial=@softmax--Switch-loss optim.learning_rate=0.1", NULL, 0, "restart_damage",
     "diverging_loss stalled_loss"},
    {"a domain of one word", BY_ITSELF FILLED "balance.switch=0.01", NULL, 0, "captured_domain", ""},
    {"128 experts, few tokens", "train.steps=300 balance.switch=0.01 router.experts=128", NULL, 0, "too_few_tokens", "dead_experts"},
    {"upcycled without noise", BY_ITSELF "model.family=mixtral balance.switch=0.01 train.initial=@mixture-noise-0", NULL, 0, "duplicate_experts", "restart_damage"},
};
enum { PATIENTS = sizeof patients / sizeof *patients };

/* Its folder: the name without what shells dislike. */
static int patient_path(char path[PATH_BYTES], const char *folder, const struct patient_row *p) {
    char name[64];
    snprintf(name, sizeof name, "%s", p->name);
    for (char *c = name; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.", *c)) *c = '-';
    return file_join(path, folder, name);
}

/* ---- running one ---------------------------------------------------------------------------------------------------------------- */

static void harm(void *context, trainer *tr) {
    const struct patient_row *p = context;
    if (!p->harm || tr->step + 1 < p->onset) return;
    p->harm(tr, tr->step + 1 - p->onset);
    weights_pack(&tr->model.weights, tr->tape.products);
}

static int set_up(recipe *r, const struct patient_row *p, const char *folder, int64_t seed) {
    char path[PATH_BYTES], settings[400], setting[PATH_BYTES + 64];
    memset(r, 0, sizeof *r);
    options_set_defaults(&recipe_options, r);
    TRY(options_read_file(&recipe_options, r, "recipes/balance/base.ini"));
    TRY(file_join(path, folder, "data"));
    strcpy(r->data_path, path);
    r->threads = 1, r->seed = seed;
    snprintf(settings, sizeof settings, "%s", p->settings);
    for (char *rest = settings, *word; (word = strtok_r(rest, " ", &rest));) {
        char *other = strchr(word, '@');
        if (other) snprintf(setting, sizeof setting, "%.*s%s/%s", (int)(other - word), word, folder, other + 1);
        else snprintf(setting, sizeof setting, "%s", word);
        TRY(options_assign(&recipe_options, r, setting, p->name));
    }
    return LAMP_OK;
}

/* A run that diverged is finished too: its logs are what counts. */
static int run(const struct patient_row *p, const char *folder, int64_t seed) {
    recipe r;
    train_report report;
    char path[PATH_BYTES], done[PATH_BYTES];
    train_watcher watcher = {.context = (void *)p, .stepping = harm};
    TRY(patient_path(path, folder, p));
    TRY(file_join(done, path, "done"));
    if (file_exists(done)) return LAMP_OK;
    if (file_is_folder(path)) TRY(file_remove_folder(path));
    TRY(set_up(&r, p, folder, seed));
    int status = train_run(&report, &r, path, p->name, &watcher);
    if (status < 0 && status != LAMP_DIVERGED) return status;
    printf("%s\n", p->name);
    return file_write_whole(done, "", 0);
}

/* ---- the report ------------------------------------------------------------------------------------------------------------------ */

typedef struct {
    int64_t found[32];           /* step in which a condition was first named in any layer; 0: never */
    char evidence[FINDING_BYTES]; /* of the expected one, then */
    double z[MOST_STEPS + 1];
    int64_t steps;
    loss_verdict verdict;
    const struct patient_row *row;
} chronicle;

static int condition_of(const char *code) {
    for (int i = 0; i < n_conditions; i++)
        if (!strcmp(conditions[i].code, code)) return i;
    CHECK(false, "no condition %s", code);
}

static void note(void *context, const finding *f) {
    chronicle *c = context;
    int i = condition_of(f->code);
    if (f->until >= 0 || c->found[i]) return;
    c->found[i] = f->since + (conditions[i].confirm - 1) * EXAMINE_EVERY;
    if (c->row->condition && !strcmp(f->code, c->row->condition)) strcpy(c->evidence, f->evidence);
}

static void examined(void *context, const doctor *d) { doctor_each(d, true, note, context); }

static int read_z(chronicle *c, const char *run_path) {
    char path[PATH_BYTES];
    mapped_file map;
    int status = LAMP_OK;
    TRY(file_join(path, run_path, "metrics.jsonl"));
    TRY(file_map(&map, path));
    const char *at = (const char *)map.bytes, *end = at + map.length, *stop;
    for (; at < end && (stop = memchr(at, '\n', (size_t)(end - at))); at = stop + 1) {
        json_t *line;
        TRY_TO(done, json_read_line(&line, at, (size_t)(stop - at), path));
        const json_t *z = json_object_get(line, "loss_z");
        int64_t step = json_integer_value(json_object_get(line, "step"));
        if (json_is_number(z) && step >= 1 && step <= MOST_STEPS) c->z[step] = json_number_value(z), c->steps = step;
        json_decref(line);
    }
done:
    file_unmap(&map);
    return status;
}

static int read_chronicle(chronicle *c, const struct patient_row *p, const char *folder) {
    char path[PATH_BYTES];
    doctor *d;
    *c = (chronicle){.row = p};
    CHECK(n_conditions <= 32, "%d conditions", n_conditions);
    TRY(patient_path(path, folder, p));
    TRY(read_z(c, path));
    TRY(checkup_run(&d, path, INT64_MAX, examined, c));
    c->verdict = doctor_verdict(d);
    doctor_free(d);
    return LAMP_OK;
}

/* The largest mean of ten steps' z-scores that ended between the onset and the finding. */
static double largest_z(const chronicle *c, int64_t from, int64_t to) {
    double largest = -INFINITY;
    for (int64_t step = from > 10 ? from : 10; step <= to && step <= MOST_STEPS; step++) {
        double mean = 0;
        for (int i = 0; i < 10; i++) mean += c->z[step - i] / 10;
        largest = fmax(largest, mean);
    }
    return largest;
}

static bool lists(const char *codes, const char *code) {
    const char *at = strstr(codes, code);
    size_t n = strlen(code);
    return at && (at == codes || at[-1] == ' ') && (at[n] == 0 || at[n] == ' ');
}

/* Found as it should be, beside what should be, missed, and a false alarm. */
static const char *cell(const chronicle *c, int i) {
    const char *code = conditions[i].code, *expected = c->row->condition;
    if (expected && !strcmp(code, expected)) return c->found[i] ? "**●**" : "missed";
    return !c->found[i] ? "" : lists(c->row->companions, code) ? "○" : "**false**";
}

static void print_matrix(const chronicle *all, int n) {
    printf("<!-- table matrix -->\n| patient |");
    for (int i = 0; i < n_conditions; i++) printf(" %s |", conditions[i].name);
    printf("\n| --- |");
    for (int i = 0; i < n_conditions; i++) printf(" --- |");
    for (int j = 0; j < n; j++) {
        printf("\n| %s%s |", all[j].row->name, all[j].row->condition ? "" : " (healthy)");
        for (int i = 0; i < n_conditions; i++) printf(" %s |", cell(&all[j], i));
    }
    printf("\n<!-- end -->\n");
}

static void print_latencies(const chronicle *all, int n) {
    printf("<!-- table latency -->\n| patient | condition | from step | named in step | after | largest z | the loss | evidence |\n");
    printf("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for (int j = 0; j < n; j++) {
        const chronicle *c = &all[j];
        if (!c->row->condition) continue;
        int i = condition_of(c->row->condition);
        int64_t onset = c->row->onset > 0 ? c->row->onset : 1;
        printf("| %s | %s | %lld |", c->row->name, conditions[i].name, (long long)onset);
        if (c->found[i] >= 10) printf(" %lld | %lld | %.1f |", (long long)c->found[i], (long long)(c->found[i] - onset), largest_z(c, onset, c->found[i]));
        else if (c->found[i]) printf(" %lld | %lld | |", (long long)c->found[i], (long long)(c->found[i] - onset));
        else printf(" never | | |");
        printf(" %s | %s |\n", loss_verdict_names[c->verdict], c->evidence);
    }
    printf("<!-- end -->\n");
}

static void print_healthy(const chronicle *all, int n) {
    printf("<!-- table healthy -->\n| run | steps | findings | the loss |\n| --- | --- | --- | --- |\n");
    for (int j = 0; j < n; j++) {
        int findings = 0;
        for (int i = 0; i < n_conditions; i++) findings += all[j].found[i] > 0;
        if (!all[j].row->condition) printf("| %s | %lld | %d | %s |\n", all[j].row->name, (long long)all[j].steps, findings, loss_verdict_names[all[j].verdict]);
    }
    printf("<!-- end -->\n");
}

static int report(const char *folder) {
    static chronicle all[PATIENTS];
    char path[PATH_BYTES], done[PATH_BYTES];
    int n = 0;
    for (int j = 0; j < PATIENTS; j++) {
        TRY(patient_path(path, folder, &patients[j]));
        TRY(file_join(done, path, "done"));
        if (file_exists(done)) TRY(read_chronicle(&all[n++], &patients[j], folder));
    }
    print_matrix(all, n);
    print_latencies(all, n);
    print_healthy(all, n);
    return LAMP_OK;
}

static const struct patient_row *find_patient(const char *name) {
    for (int j = 0; j < PATIENTS; j++)
        if (!strcmp(patients[j].name, name)) return &patients[j];
    return NULL;
}

int main(int argc, char **argv) {
    int status = LAMP_OK;
    if (argc == 2 && !strcmp(argv[1], "list"))
        for (int j = 0; j < PATIENTS; j++) printf("%s\n", patients[j].name);
    else if (argc == 5 && !strcmp(argv[1], "run") && find_patient(argv[2])) status = run(find_patient(argv[2]), argv[3], atoll(argv[4]));
    else if (argc == 3 && !strcmp(argv[1], "report")) status = report(argv[2]);
    else return fputs("usage: diseases list | diseases run NAME FOLDER SEED | diseases report FOLDER\n", stderr), 2;
    if (status < 0) fprintf(stderr, "diseases: %s\n", lamp_error_message());
    return -status;
}
