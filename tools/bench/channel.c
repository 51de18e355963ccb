/*
 * A conversation with very many members, of whom some are online and some of those look at it,
 * beside people who write to each other two by two. Its writers write as fast as everybody who
 * looks gets it; the pairs at a rate. Each round has a part with the pairs alone, so that what they
 * cost can be taken off, one with both, and, beside a floor, one with the channel alone and one of
 * the bare server, to whose connections the same is sent.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum part { PART_PAIRS, PART_BOTH, PART_ALONE, PART_FLOOR, PARTS };

struct channel {
    struct world *w;
    const struct options *opt;
    struct options of_pairs; /* the same, without what is the channel's */
    struct plan talk;        /* who writes in it, who looks, who is only there */
    struct plan pairs;
    struct plan bare; /* writers and those who look */
    struct traffic channel;
    struct traffic two;
    struct traffic floor;
    uint32_t looking;
    struct round *rounds[PARTS]; /* BOTH and ALONE: the channel's */
    struct round *beside;        /* the pairs' while the channel is busy */
    double counters;             /* told by the server in the parts with the channel */
    double events;
};

/* ---- Who is there ---- */

static void writers(struct plan *p, const struct options *o, const char *conv, uint32_t looking)
{
    plan_init(p, o, o->senders, 1);
    p->window = 1;
    p->rate = 0;
    (void)snprintf(p->targets[0].to, sizeof(p->targets[0].to), "\"group_id\":\"%s\"", conv);
    p->targets[0].expect = looking;
    p->ntargets = 1;
    for (uint32_t i = 0; i < o->senders; i++) {
        p->senders[i] = (struct sender){.client = i, .first = 0, .n = 1, .partner = NONE};
    }
}

static enum confab_err plans(struct channel *k)
{
    const struct options *o = k->opt;
    uint32_t first = 2 * o->pairs;
    uint32_t *people = bench_alloc(o->members * sizeof(*people));
    char id[ID_CONV_TEXT + 1] = "";
    struct conv_id conv;
    for (uint32_t i = 0; i < o->members; i++) {
        people[i] = first + i;
    }
    enum confab_err err = world_group(k->w, people, o->members, &conv);
    free(people);
    if (err) {
        return err;
    }
    conv_id_text(conv, id);
    k->looking = (uint32_t)((uint64_t)o->idlers * o->looking / 100);
    writers(&k->talk, o, id, k->looking);
    k->talk.first_person = first;
    k->talk.nclients = o->senders + o->idlers;
    k->talk.nlooking = k->looking;
    (void)snprintf(k->talk.looked, sizeof(k->talk.looked), "%s", id);
    writers(&k->bare, o, id, k->looking + o->senders - 1);
    k->bare.nclients = o->senders + k->looking;
    plan_pairs(&k->pairs, k->w, &k->of_pairs);
    return CONFAB_OK;
}

static enum confab_err everybody(struct channel *k, uint16_t port, pid_t server)
{
    k->channel = (struct traffic){
        .opt = k->opt, .world = k->w, .plan = &k->talk, .port = port, .server = server};
    k->two = (struct traffic){
        .opt = &k->of_pairs, .world = k->w, .plan = &k->pairs, .port = port, .server = server};
    texts_make(&k->channel);
    texts_make(&k->two);
    enum confab_err err = traffic_start(&k->channel);
    err = err ? err : traffic_start(&k->two);
    if (!err && k->opt->floor) {
        err = floor_make(&k->floor, k->opt, &k->bare);
    }
    /* Until it is answered that they look. */
    return err ? err : traffic_drain(&k->channel);
}

/* ---- Parts ---- */

/* One or both of them; what was counted while it was measured. */
static enum confab_err play(struct channel *k, struct traffic *one, struct traffic *other,
                            struct round *ret, struct round *ret_other)
{
    memset(ret, 0, sizeof(*ret));
    if (other) {
        atomic_store(&other->shared->phase, PHASE_RUN);
    }
    atomic_store(&one->shared->phase, PHASE_RUN);
    enum confab_err err = traffic_wait(one, k->opt->warmup * 1000U);
    err = err ? err : traffic_reset(one);
    if (!err && other) {
        err = traffic_reset(other);
    }
    err = err ? err : traffic_measure(one, ret);
    if (!err && other) {
        err = traffic_reset(other);
        memset(ret_other, 0, sizeof(*ret_other));
        ret_other->seconds = ret->seconds;
        traffic_meters(other, &ret_other->m);
    }
    err = err ? err : traffic_drain(one);
    return err || !other ? err : traffic_drain(other);
}

static double told(struct channel *k, const char *name)
{
    return world_metric(k->w, name);
}

static enum confab_err one_round(struct channel *k, uint32_t i)
{
    enum confab_err err = play(k, &k->two, NULL, &k->rounds[PART_PAIRS][i], NULL);
    k->counters -= told(k, "confab_counters_total");
    k->events -= told(k, "confab_large_events_total");
    err = err ? err : play(k, &k->channel, &k->two, &k->rounds[PART_BOTH][i], &k->beside[i]);
    if (!err && k->opt->floor) {
        err = play(k, &k->channel, NULL, &k->rounds[PART_ALONE][i], NULL);
    }
    k->counters += told(k, "confab_counters_total");
    k->events += told(k, "confab_large_events_total");
    if (!err && k->opt->floor) {
        err = play(k, &k->floor, NULL, &k->rounds[PART_FLOOR][i], NULL);
    }
    return err;
}

/* ---- What came of it ---- */

static double per_s(uint64_t n, const struct round *r)
{
    return r->seconds > 0 ? (double)n / r->seconds : 0;
}

static double ms(const struct hist *h, double q)
{
    return (double)hist_quantile(h, q) / 1e6;
}

static struct summary over(const struct channel *k, double (*of)(const struct channel *, uint32_t))
{
    double values[ROUNDS_MAX];
    for (uint32_t i = 0; i < k->opt->rounds; i++) {
        values[i] = of(k, i);
    }
    return summarise(values, k->opt->rounds);
}

static double deliveries_s(const struct channel *k, uint32_t i)
{
    return per_s(k->rounds[PART_BOTH][i].m.delivered, &k->rounds[PART_BOTH][i]);
}
static double messages_s(const struct channel *k, uint32_t i)
{
    return per_s(k->rounds[PART_BOTH][i].m.complete, &k->rounds[PART_BOTH][i]);
}
/* Of the part without pairs, where there is one: nothing has to be taken off. */
static double cpu_us(const struct channel *k, uint32_t i)
{
    bool alone = k->opt->floor;
    const struct round *r = &k->rounds[alone ? PART_ALONE : PART_BOTH][i];
    const struct round *quiet = &k->rounds[PART_PAIRS][i];
    double pairs =
        alone || quiet->m.complete == 0
            ? 0
            : quiet->server_cpu_s / (double)quiet->m.complete * (double)k->beside[i].m.complete;
    double cpu = r->server_cpu_s > pairs ? r->server_cpu_s - pairs : 0;
    return r->m.complete ? cpu * 1e6 / (double)r->m.complete : 0;
}
static double all_p50(const struct channel *k, uint32_t i)
{
    return ms(&k->rounds[PART_BOTH][i].m.complete_ns, 0.5);
}
static double all_p99(const struct channel *k, uint32_t i)
{
    return ms(&k->rounds[PART_BOTH][i].m.complete_ns, 0.99);
}
static double pairs_p99(const struct channel *k, uint32_t i)
{
    return ms(&k->rounds[PART_PAIRS][i].m.delivery_ns, 0.99);
}
static double beside_p50(const struct channel *k, uint32_t i)
{
    return ms(&k->beside[i].m.delivery_ns, 0.5);
}
static double beside_p99(const struct channel *k, uint32_t i)
{
    return ms(&k->beside[i].m.delivery_ns, 0.99);
}
static double floor_s(const struct channel *k, uint32_t i)
{
    return per_s(k->rounds[PART_FLOOR][i].m.delivered, &k->rounds[PART_FLOOR][i]);
}
static double share_of(const struct channel *k, uint32_t i, enum part part)
{
    double floor = floor_s(k, i);
    return floor > 0 ? per_s(k->rounds[part][i].m.delivered, &k->rounds[part][i]) / floor : 0;
}
static double share(const struct channel *k, uint32_t i)
{
    return share_of(k, i, PART_ALONE);
}
static double share_both(const struct channel *k, uint32_t i)
{
    return share_of(k, i, PART_BOTH);
}

static const struct {
    const char *key;
    const char *text;
    double (*of)(const struct channel *k, uint32_t i);
    bool floor; /* only beside one */
} FIGURES[] = {
    {"deliveries_per_s", "deliveries/s", deliveries_s, false},
    {"messages_per_s", "messages/s", messages_s, false},
    {"server_us_per_message", "server CPU for one message, us", cpu_us, false},
    {"all_have_it_p50_ms", "until all who look have it, p50, ms", all_p50, false},
    {"all_have_it_p99_ms", "until all who look have it, p99, ms", all_p99, false},
    {"pairs_alone_p99_ms", "pairs alone, send to delivery, p99, ms", pairs_p99, false},
    {"pairs_beside_p50_ms", "pairs beside it, send to delivery, p50, ms", beside_p50, false},
    {"pairs_beside_p99_ms", "pairs beside it, send to delivery, p99, ms", beside_p99, false},
    {"floor_deliveries_per_s", "the bare server's deliveries/s", floor_s, true},
    {"share_of_floor", "share of it, without pairs beside", share, true},
    {"share_of_floor_beside_pairs", "share of it, beside pairs", share_both, true},
};

static enum confab_err report(const struct channel *k)
{
    const struct options *o = k->opt;
    uint64_t errors = 0;
    uint64_t messages = 0;
    for (uint32_t i = 0; i < o->rounds; i++) {
        for (int p = 0; p < PARTS; p++) {
            errors += k->rounds[p][i].m.errors + k->rounds[p][i].m.lost;
        }
        errors += k->beside[i].m.errors + k->beside[i].m.lost;
        messages += k->rounds[PART_BOTH][i].m.complete;
    }
    (void)printf(o->json ? "{\"scenario\":\"channel\",\"members\":%" PRIu32 ",\"online\":%" PRIu32
                           ",\"looking\":%" PRIu32 ",\"senders\":%" PRIu32 ",\"pairs\":%" PRIu32
                           ",\"rate\":%" PRIu32
                         : "channel: %" PRIu32 " members, %" PRIu32 " online, %" PRIu32
                           " look, %" PRIu32 " write; %" PRIu32 " pairs at %" PRIu32
                           " messages/s\n\n",
                 o->members, k->talk.nclients, k->looking, o->senders, o->pairs, o->rate);
    for (size_t i = 0; i < ARRAY_LEN(FIGURES); i++) {
        if (FIGURES[i].floor && !o->floor) {
            continue;
        }
        struct summary s = over(k, FIGURES[i].of);
        if (o->json) {
            (void)printf(",\"%s\":{\"median\":%.4f,\"min\":%.4f,\"max\":%.4f}", FIGURES[i].key,
                         s.median, s.min, s.max);
        } else {
            (void)printf("%-44s %12.3f (%.3f to %.3f)\n", FIGURES[i].text, s.median, s.min, s.max);
        }
    }
    (void)printf(o->json ? ",\"messages\":%" PRIu64 ",\"events\":%.0f,\"counters\":%.0f,"
                           "\"errors\":%" PRIu64 "}\n"
                         : "\n%" PRIu64 " messages, %.0f events only to those who look, %.0f "
                           "counters, %" PRIu64 " errors\n",
                 messages, k->events, k->counters, errors);
    return errors ? CONFAB_CORRUPT : CONFAB_OK;
}

enum confab_err run_channel(struct world *w, const struct options *o, uint16_t port, pid_t server)
{
    struct channel k = {.w = w, .opt = o, .of_pairs = *o};
    k.of_pairs.idlers = 0;
    k.of_pairs.workers = 1;
    for (int p = 0; p < PARTS; p++) {
        k.rounds[p] = bench_alloc(o->rounds * sizeof(*k.rounds[p]));
    }
    k.beside = bench_alloc(o->rounds * sizeof(*k.beside));
    enum confab_err err = plans(&k);
    err = err ? err : everybody(&k, port, server);
    for (uint32_t i = 0; i < o->rounds && !err; i++) {
        err = one_round(&k, i);
    }
    err = err ? err : report(&k);
    traffic_stop(&k.channel);
    traffic_stop(&k.two);
    floor_end(&k.floor);
    texts_free(&k.channel);
    texts_free(&k.two);
    plan_free(&k.talk);
    plan_free(&k.pairs);
    plan_free(&k.bare);
    for (int p = 0; p < PARTS; p++) {
        free(k.rounds[p]);
    }
    free(k.beside);
    return err;
}
