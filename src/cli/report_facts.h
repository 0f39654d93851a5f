/* What a run says of itself, gathered in one reading of its logs: as much as a picture can show, whatever the length of the run and the
 * size of its model. A step falls on one of POINTS columns, of which the least, the largest and the mean value are kept. */
#ifndef REPORT_FACTS_H
#define REPORT_FACTS_H

#include "health/doctor.h"
#include "health/telemetry.h"
#include "train/recipe.h"

enum { POINTS = 300, FRAMES = 60, SIDE = 128 /* cells */, MOST_EPISODES = 400, MOST_SAMPLES = 6 };

typedef struct {
    float least, most, sum;
    int32_t n; /* 0: nothing fell here */
} span;

enum { CURVE_LOSS, CURVE_BALANCE, CURVE_GRADIENT, CURVE_RATE, CURVE_SPEED, RUN_CURVES };
enum { STRIP_CHURN = LAYER_NUMBERS, STRIP_TURNED, STRIP_SIMILARITY, STRIPS };

/* Colours of a cell as letters: 'a' nothing at all, 'b' .. 'n' half octaves from an eighth to eight times the even share, 'o' no experts. A
 * cell that stands for several experts or layers shows the one farthest from even. */
enum { COLOUR_NOTHING = 'a', COLOUR_EVEN = 'h', COLOUR_NONE = 'o' };
typedef struct {
    int rows, columns;
    char cell[SIDE * SIDE + 1];
} cells;

typedef struct {
    char name[DOMAIN_NAME_BYTES];
    double loss, perplexity, bits_per_byte, best, tokens; /* of the last validation; best: bits per byte of all */
    span at[POINTS]; /* bits per byte, or the loss if there are none */
} scored_domain;

typedef struct {
    char run[PATH_BYTES];
    recipe recipe; /* resolved */
    patient patient;
    doctor *doctor;
    int64_t last;                  /* step of the logs' end */
    step_vitals vitals;            /* of the last step */
    double seconds;                /* spent in steps */
    span curve[RUN_CURVES][POINTS];
    bool not_applied[POINTS];
    int64_t n_not_applied;
    span *strip;                   /* (STRIPS, layers, POINTS) */
    int n_domains;
    scored_domain *domain;         /* (n_domains + 1); the last is all together */
    int n_episodes;                /* those beyond MOST_EPISODES are only counted */
    finding *episode;              /* (n_episodes) as each began; until: when it passed, or -1 */
    probe_reading probe;           /* the last; its step is -1 before any, and a dense model has none */
    int rows, columns, n_frames;
    struct {
        int64_t first, last; /* steps */
        char *cell;          /* (rows, columns) */
    } frame[FRAMES];
    int64_t *load;           /* (layers, experts) of the frame being filled */
} report_facts;

int report_facts_read(report_facts *f, const char *run);
void report_facts_release(report_facts *f);

/* Loads (layers, experts) as cells. */
void loads_to_cells(cells *c, const int64_t *load, int layers, int experts);

/* The Jensen-Shannon distance of two rows of counts, between 0 and 1; NAN if one is empty. */
double jensen_shannon_distance(const int64_t *a, const int64_t *b, int n);

#endif
