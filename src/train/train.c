#include "train/train.h"

#include <stdarg.h>
#include <stdio.h>
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/human.h"
#include "base/interrupt.h"
#include "comm/comm.h"
#include "formats/checkpoint.h"
#include "models/families/family.h"
#include "train/checkup.h"
#include "train/guard.h"
#include "train/progress_line.h"
#include "train/run_folder.h"

enum { LOG_EVERY = 10 /* seconds */, PROBE_TOKENS = 1024, LARGE_LINE = 2048 /* experts in all layers */ };

typedef struct {
    trainer trainer;
    run_folder folder;
    evaluation evaluation;
    probe probe;
    doctor *doctor;
    const train_watcher *watcher;
    buffer sample, line;            /* reused */
    char prompt[64];                /* the beginning of the validation text of a domain */
    int64_t saved_at, evaluated_at; /* steps */
    double logged_at;
} train_session;

/* To the caller and to log.txt. */
static int say(train_session *s, const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (s->watcher->said) s->watcher->said(s->watcher->context, line);
    return s->folder.log ? run_folder_add_log(&s->folder, line) : LAMP_OK;
}

static int show_progress(train_session *s, const step_report *r) {
    bool final = r->used >= 1 || interrupt_requested();
    buffer_clear(&s->line);
    progress_line(&s->line, &s->trainer, r);
    TRY(s->line.status);
    if (s->watcher->progressed) s->watcher->progressed(s->watcher->context, s->line.bytes, final);
    if (!final && s->logged_at > 0 && clock_seconds() - s->logged_at < LOG_EVERY) return LAMP_OK;
    s->logged_at = clock_seconds();
    return run_folder_add_log(&s->folder, s->line.bytes);
}

static int save(train_session *s) {
    trainer *tr = &s->trainer;
    if (s->saved_at == tr->step) return LAMP_OK;
    if (interrupt_requested()) TRY(say(s, "interrupted: saving step %lld first; a second signal ends at once", (long long)tr->step));
    TRY(comm_agree(trainer_save(tr, s->folder.path)));
    s->saved_at = tr->step;
    return run_folder_add_event(&s->folder, tr->step, "checkpoint", "");
}

/* A prompt from validation text: a different domain each time. */
static int choose_prompt(train_session *s, int64_t turn) {
    const dataset *d = s->trainer.data;
    buffer text = {0};
    int status = LAMP_OK, domain = (int)(turn % d->n_domains);
    s->prompt[0] = 0;
    if (window_count(&d->domain[domain].validation, s->evaluation.batch.T) == 0) return LAMP_OK;
    int most = s->evaluation.batch.B;
    s->evaluation.batch.B = 1;
    status = validation_read(&s->evaluation.batch, d, domain, 0, 1);
    s->evaluation.batch.B = most;
    if (status >= 0) status = tokenizer_decode(d->tokenizer, &text, s->evaluation.batch.token, 8);
    if (status >= 0) snprintf(s->prompt, sizeof s->prompt, "%s", text.bytes ? text.bytes : "");
    buffer_release(&text);
    return status;
}

static int evaluate(train_session *s) {
    trainer *tr = &s->trainer;
    TRY(evaluate_dataset(&s->evaluation, &tr->tape, &tr->model, tr->data, tr->recipe.eval_tokens));
    s->evaluated_at = tr->step;
    TRY(run_folder_add_evaluation(&s->folder, tr, &s->evaluation));
    const score *total = &s->evaluation.total;
    bool is_spelt = isfinite(score_bits_per_byte(total));
    TRY(say(s, "step %lld: validation loss %.3f, %.*f %s", (long long)tr->step, score_loss(total), is_spelt ? 3 : 1,
            is_spelt ? score_bits_per_byte(total) : score_perplexity(total), is_spelt ? "bits per byte" : "perplexity"));
    if (!s->watcher->sample) return LAMP_OK;
    TRY(choose_prompt(s, tr->recipe.eval_every > 0 ? tr->step / tr->recipe.eval_every : 0));
    buffer_clear(&s->sample);
    TRY(s->watcher->sample(s->watcher->context, tr, s->prompt, &s->sample));
    return run_folder_add_sample(&s->folder, tr->step, s->prompt, s->sample.bytes ? s->sample.bytes : "", s->sample.length);
}

static bool due(int64_t step, int64_t every) { return every > 0 && step % every == 0; }

typedef struct {
    train_session *session;
    int status;
} announcement;

static void announce(void *context, const finding *f) {
    announcement *a = context;
    train_session *s = a->session;
    char place[32] = "";
    if (a->status < 0) return;
    if (f->layer >= 0) snprintf(place, sizeof place, ", layer %d", f->layer);
    a->status = f->until < 0 ? say(s, "doctor: %s%s: %s. Try: %s", f->name, place, f->evidence, f->remedy)
                             : say(s, "doctor: %s%s: over since step %lld", f->name, place, (long long)f->until);
    if (a->status >= 0) a->status = run_folder_add_finding(&s->folder, s->trainer.step, f);
}

static int report_treatment(void *context, const finding *why, const char *what) {
    train_session *s = context;
    char detail[512];
    if (why->layer < 0) snprintf(detail, sizeof detail, "%s: %s", why->name, what);
    else snprintf(detail, sizeof detail, "%s, layer %d: %s", why->name, why->layer, what);
    TRY(say(s, "treatment: %s", detail));
    return run_folder_add_event(&s->folder, s->trainer.step, "treatment", detail);
}

static int examine(train_session *s, const step_report *report) {
    announcement a = {s, LAMP_OK};
    if (!doctor_is_due(s->doctor)) return LAMP_OK;
    if (report->used > 0) doctor_see_budget(s->doctor, (double)report->tokens / report->used);
    doctor_examine(s->doctor);
    doctor_each(s->doctor, true, announce, &a);
    if (a.status < 0) return a.status;
    if (!strcmp(s->trainer.recipe.guard, "stop")) return guard_stop(s->doctor);
    if (!recipe_treats(&s->trainer.recipe)) return LAMP_OK;
    return guard_treat(&s->trainer, s->doctor, report, s->folder.path, report_treatment, s);
}

static int observe(train_session *s, const step_report *report) {
    trainer *tr = &s->trainer;
    step_vitals vitals = checkup_vitals(report);
    TRY(run_folder_add_step(&s->folder, report));
    doctor_see_step(s->doctor, &vitals);
    if (tr->trace.load && tr->trace.examine > 0) {
        TRY(run_folder_add_routing(&s->folder, tr));
        doctor_see_routing(s->doctor, tr->step, &tr->trace);
    }
    if (tr->trace.load && due(tr->step, tr->recipe.probe_every)) {
        TRY(probe_take(&s->probe, &tr->tape, &tr->model, tr->data, tr->step));
        TRY(run_folder_add_probe(&s->folder, &s->probe.reading));
        doctor_see_probe(s->doctor, &s->probe.reading);
    }
    return examine(s, report);
}

/* The first step, and every telemetry_every-th: ten times fewer where a line would be long. */
static bool telemetry_due(const trainer *tr, int64_t step) {
    int64_t every = tr->recipe.telemetry_every * (tr->trace.layers * tr->trace.experts > LARGE_LINE ? 10 : 1);
    return every > 0 && (step == 1 || due(step, every));
}

static int run_steps(train_session *s, train_report *report) {
    trainer *tr = &s->trainer;
    int status = LAMP_OK;
    int64_t first = tr->step;
    report->last.step = tr->step, report->last.tokens = tr->tokens;
    while (trainer_budget_used(tr) < 1 && !interrupt_requested()) {
        tr->trace.examine = telemetry_due(tr, tr->step + 1) ? EXAMINED_TOKENS : 0;
        if (s->watcher->stepping) s->watcher->stepping(s->watcher->context, tr);
        status = comm_agree(trainer_step(tr, &report->last));
        if (status < 0 && status != LAMP_DIVERGED) return status;
        int observed = observe(s, &report->last);
        TRY(show_progress(s, &report->last));
        if (!report->last.applied)
            TRY(run_folder_add_event(&s->folder, tr->step, "step not applied",
                                     report->last.spike ? "the loss jumped" : "loss or gradient norm is not finite"));
        if (status < 0) return status; /* the last good checkpoint stays the latest */
        if (observed == LAMP_DIVERGED && tr->bad_steps == 0) TRY(save(s));
        TRY(observed);
        if (due(tr->step, tr->recipe.eval_every) && (status = evaluate(s)) < 0 && status != LAMP_INTERRUPTED) return status;
        if (due(tr->step, tr->recipe.checkpoint_every) && tr->bad_steps == 0) TRY(save(s));
    }
    report->finished = trainer_budget_used(tr) >= 1;
    TRY(save(s));
    if (!report->finished)
        FAIL(LAMP_INTERRUPTED, "interrupted at step %lld; the checkpoint is saved, the same command goes on from it", (long long)tr->step);
    if (s->evaluated_at != tr->step) TRY(evaluate(s));
    report->validation = s->evaluation.total;
    if (tr->step > first) TRY(run_folder_add_event(&s->folder, tr->step, "finished", ""));
    return say(s, "done: %lld steps; the model is in %s", (long long)tr->step, s->folder.path);
}

static int say_plan(train_session *s) {
    const trainer *tr = &s->trainer;
    char all[HUMAN_BYTES], active[HUMAN_BYTES], peak[HUMAN_BYTES], needs[HUMAN_BYTES], machine[HUMAN_BYTES], time[HUMAN_BYTES];
    TRY(say(s, "%s: %s parameters, %s active per token; kernels %s, %s products, peak %sFLOP/s", tr->recipe.model.family,
            human_count(all, (double)tr->costs.parameters), human_count(active, (double)tr->costs.active_parameters), tr->k->name,
            tr->products == &tr->k->products ? "f32" : "bf16", human_count(peak, tr->peak_flops)));
    return say(s, "needs about %sB of %sB of memory, and about %s", human_count(needs, (double)memory_needs_total(&tr->needs)),
               human_count(machine, (double)arena_machine_bytes()), human_duration(time, trainer_expected_seconds(tr)));
}

/* One who goes on with a run has read its logs. */
static int call_doctor(train_session *s, const char *run, bool resume) {
    const trainer *tr = &s->trainer;
    patient p = checkup_patient(&tr->recipe);
    p.domains = tr->data->n_domains;
    for (int i = 0; i < p.domains; i++) strcpy(p.domain_name[i], tr->data->domain[i].summary.name);
    TRY(doctor_new(&s->doctor, &p));
    return resume ? checkup_read_logs(s->doctor, &p, run, tr->step, NULL, NULL) : LAMP_OK;
}

static int start(train_session *s, const recipe *r, const dataset *data, const char *run, const char *command) {
    trainer *tr = &s->trainer;
    bool resume;
    char newest[PATH_BYTES];
    TRY(trainer_open(tr, r, data));
    bool begins_elsewhere = *r->initial && !run_folder_has_checkpoint(run);
    if (begins_elsewhere) TRY(trainer_take_initial(tr)); /* before there is a run: what does not fit leaves none behind */
    TRY(run_folder_open(&s->folder, run, &tr->recipe, command, &resume));
    TRY(run_folder_write_environment(&s->folder, tr));
    if (resume) {
        TRY(checkpoint_resolve(newest, run));
        TRY(trainer_resume(tr, newest));
        TRY(checkpoint_tidy(run, tr->step, (int)tr->recipe.keep_checkpoints));
        s->saved_at = tr->step;
    }
    TRY(run_folder_forget_after(&s->folder, tr->step)); /* one killed before its first checkpoint begins anew */
    TRY(evaluation_open(&s->evaluation, &tr->model, tr->batch.B, tr->batch.T));
    TRY(call_doctor(s, run, resume));
    TRY(probe_open(&s->probe, &tr->model, data, tr->batch.T, PROBE_TOKENS));
    if (tr->recipe.probe_every > 0) TRY(probe_take(&s->probe, &tr->tape, &tr->model, data, tr->step));
    TRY(run_folder_add_event(&s->folder, tr->step, resume ? "resume" : "start", command));
    TRY(say_plan(s));
    if (begins_elsewhere) TRY(say(s, "beginning with the weights of %s", r->initial));
    const struct router *router = tr->recipe.model.moe.router;
    if (router && router->looks_ahead)
        TRY(say(s,
                "warning: while training, router.kind %s lets a token's experts depend on the tokens after it, which a language model must not know: "
                "the training loss flatters; trust validation",
                router->name));
    return resume ? say(s, "going on from step %lld", (long long)tr->step) : LAMP_OK;
}

static int open_data(dataset **data, const recipe *r) {
    TRY(family_check_runs(&r->model, "recipe"));
    if (!*r->data_path) FAIL(LAMP_INVALID, "no data: set data.path in the recipe, or --set data.path=FOLDER (made by `lamp data build`)");
    return dataset_open(data, r->data_path);
}

int train_plan(train_report *report, const recipe *r, const train_watcher *watcher) {
    train_session s = {.watcher = watcher};
    dataset *data = NULL;
    *report = (train_report){0};
    int status = open_data(&data, r);
    if (status >= 0) status = trainer_prepare(&s.trainer, r, data);
    if (status >= 0) status = say_plan(&s);
    if (status >= 0) report->last.bytes = memory_needs_total(&s.trainer.needs), report->last.seconds_left = trainer_expected_seconds(&s.trainer);
    trainer_close(&s.trainer);
    dataset_free(data);
    return status;
}

int train_run(train_report *report, const recipe *r, const char *run, const char *command, const train_watcher *watcher) {
    train_session s = {.watcher = watcher, .saved_at = -1, .evaluated_at = -1};
    dataset *data = NULL;
    *report = (train_report){0};
    int status = open_data(&data, r);
    if (status >= 0) status = start(&s, r, data, run, command);
    if (status >= 0) status = run_steps(&s, report);
    if (s.folder.log && status < 0) run_folder_add_event(&s.folder, s.trainer.step, "stopped", lamp_error_message());
    buffer_release(&s.sample);
    buffer_release(&s.line);
    run_folder_close(&s.folder);
    evaluation_close(&s.evaluation);
    probe_close(&s.probe);
    doctor_free(s.doctor);
    trainer_close(&s.trainer);
    dataset_free(data);
    return status;
}
