/* SPDX-License-Identifier: Apache-2.0 */
/* Names instead of addresses: a weather station publishes readings, instruments subscribe to them and report to whoever
 * is registered as the station. Nobody is given an address. One instrument crashes over a reading: its subscription is
 * the actor's, not the incarnation's, so it hears the next one. */
#include <stdio.h>
#include <string.h>
#include <troupe/troupe.h>

enum { READING, REPORT }; /* to the instruments; to the station */
enum { DISPLAY, ALARM, INSTRUMENTS };

struct report {
    int instrument;
    char says[40];
};

struct instrument_args {
    int nr;
};

struct instrument {
    int nr;
};

static void report(troupe_ctx *ctx, int nr, const char *says)
{
    struct report r = {.instrument = nr};
    snprintf(r.says, sizeof r.says, "%s", says);
    troupe_tell_name(ctx, "station", REPORT, &r, sizeof r);
}

static int instrument_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct instrument *me = self;
    me->nr = ((const struct instrument_args *)args)->nr;
    int status = troupe_subscribe(ctx, "weather", troupe_self(ctx), READING);
    if (status == 0)
        report(ctx, me->nr, troupe_incarnation(ctx) == 1 ? "is ready" : "is back");
    return status;
}

static void on_reading_display(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    char says[32];
    snprintf(says, sizeof says, "shows %d degrees", *(const int *)troupe_payload(msg));
    report(ctx, ((struct instrument *)self)->nr, says);
}

static void on_reading_alarm(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    int degrees = *(const int *)troupe_payload(msg);
    if (degrees < -273)
        troupe_panic(ctx, "no such temperature: %d", degrees);
    report(ctx, ((struct instrument *)self)->nr, degrees > 30 ? "rings" : "is quiet");
}

#define INSTRUMENT                                                                                                     \
    .state_size = sizeof(struct instrument), .args_size = sizeof(struct instrument_args), .started = instrument_started

static const troupe_behavior display = {
    .name = "display",
    INSTRUMENT,
    .handlers = {[READING] = {.name = "reading", .fn = on_reading_display, .size = sizeof(int)}}};
static const troupe_behavior alarm_bell = {
    .name = "alarm",
    INSTRUMENT,
    .handlers = {[READING] = {.name = "reading", .fn = on_reading_alarm, .size = sizeof(int)}}};

/* --- the station -------------------------------------------------------------------------------------------------- */

static const int readings[] = {21, 35, -300, 19};
enum { READINGS = sizeof readings / sizeof *readings };

struct station {
    unsigned next, reports;
    char says[INSTRUMENTS][40];
};

static int station_started(troupe_ctx *ctx, void *self, const void *args)
{
    struct instrument_args first = {DISPLAY}, second = {ALARM};
    (void)self, (void)args;
    int status = troupe_register(ctx, "station", troupe_self(ctx));
    troupe_spawn(ctx, &display, &first, NULL);
    troupe_spawn(ctx, &alarm_bell, &second, NULL);
    return status;
}

/* When all have said something to one reading, the next is published. */
static void on_report(troupe_ctx *ctx, void *self, const troupe_msg *msg)
{
    struct station *s = self;
    const struct report *r = troupe_payload(msg);
    memcpy(s->says[r->instrument], r->says, sizeof r->says);
    if (++s->reports < INSTRUMENTS)
        return;
    s->reports = 0;
    printf("the display %s, the alarm %s\n", s->says[DISPLAY], s->says[ALARM]);
    if (s->next == READINGS) {
        troupe_stop_runtime(ctx, 0);
        return;
    }
    troupe_fanout out;
    TROUPE_CHECK(ctx, troupe_publish(ctx, "weather", &readings[s->next++], sizeof(int), &out) == 0);
    printf("%d degrees, to %zu subscribers\n", readings[s->next - 1], out.told);
}

static const troupe_behavior station = {
    .name = "station",
    .state_size = sizeof(struct station),
    .started = station_started,
    .handlers = {[REPORT] = {.name = "report", .fn = on_report, .size = sizeof(struct report)}},
};

int main(void)
{
    troupe_options options = {.log_level = TROUPE_LOG_NONE};
    return troupe_run(&station, NULL, &options);
}
