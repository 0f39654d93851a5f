/* What the disk may hold after a power cut, at every moment of a run:
 *
 *     replay BEFORE TRACE RUN STATES SAMPLES
 *
 * BEFORE is a copy of the folder in which the run began, TRACE what it changed there (FAULT_RECORD, tests/faults/faults.c), RUN the name of
 * its run folder. For each prefix of the trace this makes folders `state` that the disk may hold if power fails there:
 *
 *     names      a change of a folder (create, rename, remove, mkdir, symlink) is certain once that folder was synced after it; of the
 *                others all are lost, all are kept, the first few are kept, or any of them, in any combination
 *     contents   what was flushed to a file before it was synced is certain; what came after is lost, kept, cut at a sector of 512
 *                bytes, or there but for some sectors, which are zero
 *
 * The run must then resolve to a checkpoint that is whole, to the byte what was saved: the one that `latest` had named when its folder was
 * last synced, or a later one. All lost, all kept, and names without contents are tried at every prefix, chance then adds combinations until
 * there were STATES different ones. Every so many are kept as sample-1 to sample-SAMPLES, for the run to go on from. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/random.h"
#include "formats/checkpoint.h"

enum { SECTOR = 512, MAX_NODES = 1 << 12, MAX_CHANGES = 1 << 14, MAX_STATES = 1 << 20, ROUNDS = 1000, NOTHING = -1, ROOT = 0 };

/* A file, folder or link, whatever it is called. */
typedef struct {
    enum { FOLDER, PLAIN, LINK } kind;
    buffer content; /* of a link where it leads */
    size_t before, flushed, synced; /* how many bytes of it there were at the beginning, had been flushed, were synced */
    size_t shown; /* of which the state has this many, with some sectors zero */
    bool holes;
} node;

/* In a folder a name comes to mean a node, or nothing; of a rename both at once. */
typedef struct {
    struct {
        int folder, node;
        char *name;
    } entry[2];
    int n;
    bool certain, kept;
} change;

typedef struct {
    char *kind, *path, *other;
    const char *bytes;
    size_t length;
} event;

static node nodes[MAX_NODES];
static change changes[MAX_CHANGES];
static event *events;
static int n_nodes, n_changes, n_events;
static const char *run;
static char promised[64]; /* the checkpoint that must be there or have a newer one; "" before the first */

static int node_new(int kind) {
    CHECK(n_nodes < MAX_NODES, "too many files");
    node *n = &nodes[n_nodes];
    buffer_clear(&n->content);
    n->kind = kind, n->before = n->flushed = n->synced = 0;
    return n_nodes++;
}

/* ---- names ------------------------------------------------------------------------------------------------------------------- */

typedef enum { NOW, IF_KEPT, EVER } view;

/* What a name means: now, in the state that is made, or if it was removed, what it meant before. The last change says. */
static int look_up(int folder, const char *name, view as) {
    for (int i = n_changes - 1; i >= 0; i--)
        for (int j = changes[i].n - 1; j >= 0; j--)
            if (changes[i].entry[j].folder == folder && !strcmp(changes[i].entry[j].name, name) && (as != IF_KEPT || changes[i].kept) &&
                (as != EVER || changes[i].entry[j].node != NOTHING))
                return changes[i].entry[j].node;
    return NOTHING;
}

/* The folder in which path ends, and the last name; NOTHING if there is no such folder. */
static int find_folder(const char **name, const char *path) {
    int folder = ROOT;
    for (const char *slash; (slash = strchr(path, '/')) && folder != NOTHING; path = slash + 1) {
        char part[PATH_BYTES];
        snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        if (*part && strcmp(part, ".")) folder = look_up(folder, part, NOW);
    }
    *name = path;
    return folder;
}

static int find(const char *path) {
    const char *name;
    if (!strcmp(path, ".")) return ROOT;
    int folder = find_folder(&name, path);
    return folder == NOTHING ? NOTHING : look_up(folder, name, NOW);
}

static void rename_node(const char *path, int meant) {
    const char *name;
    change *c = &changes[n_changes];
    int folder = find_folder(&name, path);
    CHECK(folder != NOTHING && c->n < 2, "%s: a change in no folder", path);
    c->entry[c->n].folder = folder, c->entry[c->n].node = meant;
    free(c->entry[c->n].name);
    c->entry[c->n++].name = strdup(name);
}

static void change_begin(void) {
    CHECK(n_changes < MAX_CHANGES, "too many changes");
    changes[n_changes].n = 0, changes[n_changes].certain = false;
}

static void name_node(const char *path, int meant) {
    change_begin();
    rename_node(path, meant);
    n_changes++;
}

/* ---- the trace --------------------------------------------------------------------------------------------------------------- */

static void read_before(const char *place, const char *path) {
    struct dirent *entry;
    DIR *folder = opendir(place);
    CHECK(folder, "%s: cannot open", place);
    while ((entry = readdir(folder))) {
        char inside[PATH_BYTES], called[PATH_BYTES];
        struct stat info;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        CHECK(file_join(inside, place, entry->d_name) >= 0 && file_join(called, path, entry->d_name) >= 0 && !lstat(inside, &info), "%s", place);
        int n = node_new(S_ISDIR(info.st_mode) ? FOLDER : S_ISLNK(info.st_mode) ? LINK : PLAIN);
        name_node(called, n);
        mapped_file map;
        char target[PATH_BYTES];
        changes[n_changes - 1].certain = true;
        switch (nodes[n].kind) {
        case FOLDER: read_before(inside, called); break;
        case LINK: buffer_append(&nodes[n].content, target, (size_t)readlink(inside, target, sizeof target)); break;
        case PLAIN:
            CHECK(file_map(&map, inside) >= 0 && buffer_append(&nodes[n].content, map.bytes, map.length) >= 0, "%s", inside);
            file_unmap(&map);
        }
        nodes[n].before = nodes[n].content.length;
    }
    closedir(folder);
}

static void read_trace(const char *path) {
    static buffer text; /* events borrow from it */
    mapped_file map;
    CHECK(file_map(&map, path) >= 0 && buffer_append(&text, map.bytes, map.length) >= 0, "%s", lamp_error_message());
    file_unmap(&map);
    for (const char *line = text.bytes; line < text.bytes + text.length; line = events[n_events - 1].bytes + events[n_events - 1].length) {
        event e;
        CHECK(sscanf(line, "%ms %zu %ms %ms", &e.kind, &e.length, &e.path, &e.other) == 4, "no event: %.40s", line);
        e.bytes = strchr(line, '\n') + 1;
        events = realloc(events, (size_t)(n_events + 1) * sizeof *events);
        events[n_events++] = e;
    }
}

/* What is synced is certain; and so is then what `latest` says, if it was its folder. */
static void sync_node(int synced) {
    char latest[PATH_BYTES];
    nodes[synced].synced = nodes[synced].flushed;
    for (int i = 0; i < n_changes; i++) changes[i].certain |= changes[i].entry[changes[i].n - 1].folder == synced;
    snprintf(latest, sizeof latest, "%s/checkpoints", run);
    if (find(latest) != synced) return;
    strcat(latest, "/latest");
    if (find(latest) != NOTHING) snprintf(promised, sizeof promised, "%s", nodes[find(latest)].content.bytes);
}

static void happen(const event *e) {
    int at = find(e->path), made;
    if (!strcmp(e->kind, "create")) {
        name_node(e->path, node_new(PLAIN)); /* one that was there is replaced: its old bytes or the new ones */
    } else if (!strcmp(e->kind, "append")) {
        if (at == NOTHING) name_node(e->path, node_new(PLAIN));
    } else if (!strcmp(e->kind, "mkdir")) {
        name_node(e->path, node_new(FOLDER));
    } else if (!strcmp(e->kind, "symlink")) {
        buffer_append_text(&nodes[made = node_new(LINK)].content, e->other);
        name_node(e->path, made);
    } else if (!strcmp(e->kind, "remove")) {
        name_node(e->path, NOTHING);
    } else if (!strcmp(e->kind, "rename")) {
        change_begin();
        rename_node(e->path, NOTHING);
        rename_node(e->other, at);
        n_changes++;
    } else if (at == NOTHING) { /* written to a file that no name leads to */
    } else if (!strcmp(e->kind, "write")) {
        buffer_append(&nodes[at].content, e->bytes, e->length);
    } else if (!strcmp(e->kind, "flush")) {
        nodes[at].flushed = nodes[at].content.length;
    } else if (!strcmp(e->kind, "sync")) {
        sync_node(at);
    }
}

/* ---- a state of the disk ----------------------------------------------------------------------------------------------------- */

typedef enum { ALL_LOST, ALL_KEPT, CONTENTS_LOST, BY_CHANCE } fate;

static random_key key;
static uint64_t drawn;
static uint64_t draw(uint64_t below) { return random_below(key, drawn++, below); }

static void choose_names(fate of) {
    bool first_few = of == BY_CHANCE && draw(2);
    int uncertain = 0;
    for (int i = 0; i < n_changes; i++) uncertain += !changes[i].certain;
    int few = (int)draw((uint64_t)uncertain + 1);
    for (int i = 0; i < n_changes; i++) {
        change *c = &changes[i];
        c->kept = c->certain || of == ALL_KEPT || of == CONTENTS_LOST || (of == BY_CHANCE && (first_few ? few-- > 0 : draw(2)));
    }
}

static void choose_content(node *n, fate of) {
    enum { LOSE, KEEP, CUT, PUNCH, WAYS };
    uint64_t way = of == ALL_KEPT ? KEEP : of == BY_CHANCE ? draw(WAYS) : LOSE;
    size_t uncertain = n->content.length - n->synced;
    n->shown = way == LOSE ? n->synced : n->content.length;
    n->holes = way == PUNCH;
    if (way == CUT) n->shown = n->synced + draw(uncertain / SECTOR + 1) * SECTOR;
}

static void choose(fate of) {
    choose_names(of);
    for (int i = 0; i < n_nodes; i++)
        if (nodes[i].kind == PLAIN) choose_content(&nodes[i], of);
}

static void append_content(buffer *to, node *n, uint64_t which_holes) {
    buffer_append(to, n->content.bytes, n->shown);
    for (size_t at = n->synced; n->holes && at < n->shown; at += SECTOR - at % SECTOR)
        if (random_bits(key, which_holes + at / SECTOR) & 1) memset(to->bytes + at, 0, at + SECTOR < n->shown ? SECTOR - at % SECTOR : n->shown - at);
}

static void write_plain(const char *path, const buffer *content) {
    FILE *file = fopen(path, "wbe");
    CHECK(file && fwrite(content->bytes, 1, content->length, file) == content->length && !fclose(file), "%s", path);
}

/* Goes over what is kept below a folder; makes it at path, or only its hash. */
static void show(buffer *listing, int folder, const char *path, bool made) {
    static buffer content;
    CHECK(!made || !mkdir(path, 0777), "%s", path);
    for (int i = 0; i < n_changes; i++)
        for (int j = 0; j < changes[i].n; j++) {
            int n = changes[i].entry[j].node;
            const char *name = changes[i].entry[j].name;
            if (!changes[i].kept || changes[i].entry[j].folder != folder || n == NOTHING || look_up(folder, name, IF_KEPT) != n) continue;
            char inside[PATH_BYTES], digits[HASH_TEXT_BYTES];
            CHECK(file_join(inside, path, name) >= 0, "%s", lamp_error_message());
            buffer_clear(&content);
            switch (nodes[n].kind) {
            case FOLDER: show(listing, n, inside, made); break;
            case LINK: CHECK(!made || !symlink(nodes[n].content.bytes, inside), "%s", inside); break;
            case PLAIN:
                append_content(&content, &nodes[n], (uint64_t)n << 40);
                if (made) write_plain(inside, &content);
            }
            if (nodes[n].kind == LINK) buffer_append_text(&content, nodes[n].content.bytes);
            hash_to_text(digits, hash_bytes(content.bytes, nodes[n].kind == FOLDER ? 0 : content.length));
            buffer_printf(listing, "%s %d %s\n", inside, nodes[n].kind, digits);
        }
}

static bool is_new(hash128 of_state) {
    static hash128 seen[MAX_STATES];
    static int n_seen;
    for (int i = 0; i < n_seen; i++)
        if (seen[i].low == of_state.low && seen[i].high == of_state.high) return false;
    CHECK(n_seen < MAX_STATES, "too many states");
    seen[n_seen++] = of_state;
    return true;
}

/* ---- what the run makes of it ------------------------------------------------------------------------------------------------ */

static int warnings;
static void count_warnings(void *context, log_level level, const char *text) {
    (void)context, (void)text;
    warnings += level == LOG_WARNING;
}

static int compare_file(const char *folder, int saved, const char *name) {
    char path[PATH_BYTES];
    mapped_file map;
    int n = look_up(saved, name, EVER);
    CHECK(n != NOTHING, "%s was never saved", name);
    TRY(file_join(path, folder, name));
    TRY(file_map(&map, path));
    bool same = map.length == nodes[n].content.length && !memcmp(map.bytes, nodes[n].content.bytes, map.length);
    file_unmap(&map);
    if (!same) FAIL(LAMP_FAILURE, "%s: other bytes than were saved", path);
    return LAMP_OK;
}

static int check(void) {
    static const char *const files[] = {"config.json", "model.safetensors", "optimizer.safetensors", "tokenizer.json", "trainer.json"};
    char in_state[PATH_BYTES], path[PATH_BYTES], checkpoints[PATH_BYTES];
    TRY(file_join(in_state, "state", run));
    TRY(file_join(checkpoints, run, "checkpoints"));
    warnings = 0;
    int status = checkpoint_resolve(path, in_state);
    if (!*promised && status < 0) return LAMP_OK; /* there was nothing before, and is not yet */
    TRY(status);
    TRY(checkpoint_verify(path));
    if (*promised && warnings) FAIL(LAMP_FAILURE, "%s: resolved with a warning", path);
    if (strcmp(file_name(path), promised) < 0) FAIL(LAMP_FAILURE, "resolved to %s although %s was done", path, promised);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        TRY(compare_file(path, look_up(find(checkpoints), file_name(path), EVER), files[i]));
    return LAMP_OK;
}

int main(int argc, char **argv) {
    CHECK(argc == 6, "replay BEFORE TRACE RUN STATES SAMPLES");
    long states = atol(argv[4]), samples = atol(argv[5]), tried = 0, failed = 0, sampled = 0;
    log_set_sink(count_warnings, NULL);
    run = argv[3];
    node_new(FOLDER);
    read_before(argv[1], ".");
    read_trace(argv[2]);
    int nodes_before = n_nodes, changes_before = n_changes;
    for (int round = 0; round < ROUNDS && (round < BY_CHANCE || tried < states); round++) {
        n_nodes = nodes_before, n_changes = changes_before, *promised = 0;
        for (int i = 0; i < n_nodes; i++) nodes[i].content.length = nodes[i].flushed = nodes[i].synced = nodes[i].before;
        for (int i = 0; i < n_changes; i++) changes[i].certain = true;
        for (int i = 0; i < n_events && (round < BY_CHANCE || tried < states); i++) {
            happen(&events[i]);
            static buffer listing;
            buffer_clear(&listing);
            buffer_append_text(&listing, promised);
            key = random_key_make(1, RANDOM_SAMPLE, (uint64_t)round, (uint64_t)i), drawn = 0;
            choose(round < BY_CHANCE ? (fate)round : BY_CHANCE);
            show(&listing, ROOT, "state", false);
            if (!is_new(hash_bytes(listing.bytes, listing.length))) continue;
            tried++;
            CHECK(file_remove_folder("state") >= 0, "%s", lamp_error_message());
            show(&listing, ROOT, "state", true);
            if (check() < 0) {
                failed++;
                printf("FAILED power cut after event %d of %d (%s %s), round %d: %s\n", i + 1, n_events, events[i].kind, events[i].path, round,
                       lamp_error_message());
            }
            if (sampled < samples && tried % (states / samples) == 0) {
                char sample[32];
                snprintf(sample, sizeof sample, "sample-%ld", ++sampled);
                CHECK(!rename("state", sample), "%s", sample);
            }
        }
    }
    printf("%ld %ld %ld %d\n", tried, failed, sampled, n_events);
    return 0;
}
