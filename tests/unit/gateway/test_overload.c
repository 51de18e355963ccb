/*
 * Too much: queues whose readers do not read, what goes first, the bound of all queues together,
 * and large fan-outs beside other traffic. Exact counts, no times.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/session.h"
#include "rig.h"

static struct conn *session_at(struct rig *rig, const struct account *a)
{
    for (uint16_t i = 0; i < rig->n; i++) {
        struct conn *c = session_of_user(rig->shards[i], strtoull(a->user, NULL, 10));
        if (c) {
            return c;
        }
    }
    fail_msg("%s has no session", a->name);
    return NULL;
}

/* A text frame with a number, and as many bytes besides. */
static struct frame *numbered(int number, size_t more, enum frame_kind kind)
{
    struct buf b = {0};
    size_t mark = ws_frame_begin(&b, false);
    buf_printf(&b, "{\"event\":\"test\",\"n\":%d,\"pad\":\"", number);
    for (size_t i = 0; i < more; i++) {
        buf_put_u8(&b, 'x');
    }
    buf_put_str(&b, "\"}");
    ws_frame_end(&b, mark, WS_TEXT, NULL);
    struct frame *f = frame_new(NULL, span_of(b.data, b.len));
    assert_non_null(f);
    f->kind = (uint8_t)kind;
    buf_deinit(&b);
    return f;
}

static void deliver(struct shard *s, struct conn *c, struct frame *f)
{
    session_deliver(s, c, f);
    frame_unref(f);
}

/* Frames until the net takes no more: what comes now waits in the queue. */
static void block(struct rig *rig, struct shard *s, struct conn *c)
{
    while (!(c->flags & CONN_BLOCKED)) {
        struct frame *f = numbered(0, 4000, FRAME_ANSWER);
        assert_true(conn_push(s, c, f));
        frame_unref(f);
        rig_settle(rig);
    }
}

/* ---- The queue of one connection ---- */

/*
 * Frames of all kinds, some forgotten, read in pieces: what is not forgotten comes whole and in
 * order, answers among it, and nothing is left of anything.
 */
static void test_output__forgetting_leaves_the_rest_whole(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, NULL);
    struct random_seeded rnd;
    struct account ann;
    account_make(rig, "ann", &ann);
    random_seeded_init(&rnd, 3);
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct shard *s = rig->shards[0];
    struct conn *c = session_at(rig, &ann);
    static uint8_t kinds[20000];
    struct buf got = {0};
    int pushed = 0;
    uint64_t forgotten = 0;
    for (int round = 0; round < 400; round++) {
        uint64_t n = random_below(&rnd.base, 40);
        for (uint64_t i = 0; i < n; i++) {
            kinds[pushed] = (uint8_t)random_below(&rnd.base, 3);
            struct frame *f =
                numbered(pushed, random_below(&rnd.base, 2000), (enum frame_kind)kinds[pushed]);
            pushed++;
            assert_true(conn_push(s, c, f));
            frame_unref(f);
        }
        if (random_below(&rnd.base, 3) == 0) {
            enum frame_kind from = random_below(&rnd.base, 2) ? FRAME_LIVE : FRAME_EPHEMERAL;
            forgotten += conn_forget(s, c, from);
        }
        rig_settle(rig);
        uint8_t some[30000];
        size_t k = 0;
        if (net_sim_recv(a->conn, some, 1 + random_below(&rnd.base, sizeof(some)), &k) ==
            CONFAB_OK) {
            buf_put(&got, some, k);
        }
    }
    buf_put(&a->in, got.data, got.len);
    int last = -1;
    int came = 0;
    int answers = 0;
    const char *f;
    while ((f = ws_next(a)) != NULL) {
        int number = (int)json_number_of(f, "n");
        assert_true(number > last);
        for (int i = last + 1; i < number; i++) {
            assert_int_not_equal(kinds[i], FRAME_ANSWER);
        }
        answers += kinds[number] == FRAME_ANSWER;
        last = number;
        came++;
    }
    assert_true(forgotten > 100 && answers > 100);
    assert_int_equal(came + (int)forgotten, pushed);
    assert_int_equal(s->output_memory, 0);
    assert_int_equal(s->queued_bytes, 0);
    assert_int_equal(slab_count(&s->chunks), 0);
    buf_deinit(&got);
    client_drop(a);
    rig_free(rig);
}

static void small_queue(struct shard_config *cfg)
{
    cfg->queue_bytes_max = 8192;
}

static void test_output__ephemeral_goes_first(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, small_queue);
    struct account ann;
    account_make(rig, "ann", &ann);
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct shard *s = rig->shards[0];
    struct conn *c = session_at(rig, &ann);
    block(rig, s, c);
    (void)conn_forget(s, c, FRAME_ANSWER);
    uint32_t left = c->out_bytes; /* of the frame under way */
    assert_true(left <= 4100);
    /* A quarter of the queue is for those: the fifth and all later ones are dropped at once. */
    uint32_t room = left < 2048 ? (2048 - left) / 400 : 0;
    for (int i = 0; i < 7; i++) {
        struct frame *f = numbered(i, 400 - 45, FRAME_EPHEMERAL);
        assert_in_range(f->len, 380, 400);
        (void)session_deliver_ephemeral(s, c, f);
        frame_unref(f);
    }
    assert_in_range(rig_total(rig, METRIC_EPHEMERAL_DROPPED), 7 - room - 1, 7 - room);
    int dropped = (int)rig_total(rig, METRIC_EPHEMERAL_DROPPED);
    /* Live ones take the rest, then the place of the ephemeral ones, then the session pulls. */
    int live = 0;
    while (c->flags & CONN_LIVE) {
        deliver(s, c, numbered(100 + live, 1000 - 45, FRAME_LIVE));
        live++;
        assert_true(live < 20);
    }
    assert_int_equal(rig_total(rig, METRIC_EPHEMERAL_DROPPED), 7);
    assert_true(dropped < 7 || room == 0);
    assert_int_equal(rig_total(rig, METRIC_SLOW_CONSUMERS), 1);
    assert_int_equal(rig_total(rig, METRIC_DELIVERIES_DROPPED), live); /* with those that waited */
    assert_int_equal(c->out_bytes, left);
    const char *f;
    bool resync = false;
    while ((f = ws_next(a)) != NULL) {
        resync = strstr(f, "\"resync\"") != NULL;
        assert_true(resync || strstr(f, "\"n\":0,"));
    }
    assert_true(resync);
    client_drop(a);
    rig_free(rig);
}

/* Asks, and does not take the answers: 1013 as for any other that does not read. */
static void test_output__unread_answers_end_with_1013(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, small_queue);
    struct account ann;
    account_make(rig, "ann", &ann);
    struct client *a = ws_open(rig, 0, ann.token);
    struct shard *s = rig->shards[0];
    struct conn *c = session_at(rig, &ann);
    block(rig, s, c);
    while (!(c->holds & HOLD_OUTPUT)) {
        struct frame *f = numbered(0, 1000, FRAME_ANSWER);
        assert_true(conn_push(s, c, f));
        frame_unref(f);
    }
    rig_pass(rig, 29000);
    assert_int_equal(rig_total(rig, METRIC_SESSIONS), 1);
    rig_pass(rig, 18000); /* it is looked at when it is due to be asked for a sign of life */
    assert_int_equal(rig_total(rig, METRIC_SESSIONS), 0);
    assert_int_equal(rig_total(rig, METRIC_SLOW_CONSUMERS_CLOSED), 1);
    assert_int_equal(ws_close_code(a), 1013);
    assert_int_equal(s->output_memory, 0);
    client_drop(a);
    rig_free(rig);
}

/* ---- All queues together ---- */

#define STUCK 6
#define BOUND 60000

static void small_memory(struct shard_config *cfg)
{
    cfg->output_bytes_max = BOUND;
}

/* Those who are stuck for longest pull first, and no more of them than needed. */
static void test_memory__slowest_pull_first(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, small_memory);
    struct account who[STUCK];
    struct client *k[STUCK];
    struct conn *c[STUCK];
    struct shard *s = rig->shards[0];
    for (int i = 0; i < STUCK; i++) {
        char name[16];
        snprintf(name, sizeof(name), "u%d", i);
        account_make(rig, name, &who[i]);
        k[i] = ws_live(rig, 0, &who[i], NULL);
        c[i] = session_at(rig, &who[i]);
    }
    /* The last is stuck first; the first reads all the time. */
    for (int i = STUCK - 1; i > 0; i--) {
        block(rig, s, c[i]);
        (void)conn_forget(s, c[i], FRAME_ANSWER);
        rig_pass(rig, 4000);
    }
    /* One frame for all: it counts once, whoever has it. */
    uint64_t before = s->output_memory;
    struct frame *shared = numbered(1, 9000, FRAME_LIVE);
    uint64_t one = frame_memory(shared);
    for (int i = 1; i < STUCK; i++) {
        session_deliver(s, c[i], shared);
    }
    frame_unref(shared);
    assert_in_range(s->output_memory, before + one, before + one + (STUCK - 1) * 256);
    rig_settle(rig);
    assert_int_equal(rig_total(rig, METRIC_BOUND_OUTPUT_MEMORY), 0);
    /* Then some of its own for each: together above the bound. */
    int n = 0;
    while (s->output_memory <= BOUND) {
        deliver(s, c[1 + n % (STUCK - 1)], numbered(2 + n, 5000, FRAME_LIVE));
        n++;
    }
    deliver(s, c[0], numbered(1, 100, FRAME_LIVE));
    rig_settle(rig);
    assert_int_equal(rig_total(rig, METRIC_BOUND_OUTPUT_MEMORY), 1);
    assert_true(s->output_memory <= BOUND / 4 * 3);
    int pulled = 0;
    for (int i = STUCK - 1; i > 0; i--) {
        bool slow = c[i]->flags & CONN_SLOW;
        assert_true(!slow || pulled == STUCK - 1 - i); /* none before a slower one */
        pulled += slow;
    }
    assert_in_range(pulled, 1, STUCK - 2);
    assert_int_equal(rig_total(rig, METRIC_SLOW_CONSUMERS), pulled);
    assert_int_equal(rig_total(rig, METRIC_SLOW_CONSUMERS_CLOSED), 0);
    ws_expect(k[0], "test"); /* who reads is served as ever */
    while (ws_next(k[0])) {
    }
    assert_true(c[0]->flags & CONN_LIVE);
    for (int i = 0; i < STUCK; i++) {
        client_drop(k[i]);
    }
    assert_int_equal(s->output_memory, 0);
    rig_free(rig);
}

/* Answers that nobody takes are not in any log: their connections are closed, the slowest first. */
static void test_memory__then_they_are_closed(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, small_memory);
    struct account who[STUCK];
    struct client *k[STUCK];
    struct conn *c[STUCK];
    struct shard *s = rig->shards[0];
    for (int i = 0; i < STUCK; i++) {
        char name[16];
        snprintf(name, sizeof(name), "u%d", i);
        account_make(rig, name, &who[i]);
        k[i] = ws_live(rig, 0, &who[i], NULL);
        c[i] = session_at(rig, &who[i]);
    }
    for (int i = 0; i < STUCK; i++) {
        block(rig, s, c[i]);
        (void)conn_forget(s, c[i], FRAME_ANSWER);
        rig_pass(rig, 1000);
    }
    for (int n = 0; s->output_memory <= BOUND; n++) {
        struct frame *f = numbered(n, 5000, FRAME_ANSWER);
        assert_true(conn_push(s, c[n % STUCK], f));
        frame_unref(f);
    }
    rig_settle(rig);
    assert_true(s->output_memory <= BOUND / 4 * 3);
    /* Those who have taken nothing for four seconds, as many as it takes. */
    assert_in_range(rig_total(rig, METRIC_SLOW_CONSUMERS_CLOSED), 1, 3);
    /* Others fill the room, who may not be closed yet: until they may nothing more is read. */
    for (int i = 3; i < STUCK; i++) {
        c[i]->blocked_s = (uint32_t)(s->now_ms / 1000);
    }
    for (int n = 0; s->output_memory <= BOUND || n < 20; n++) {
        struct frame *f = numbered(n, 5000, FRAME_ANSWER);
        assert_true(conn_push(s, c[3 + n % (STUCK - 3)], f));
        frame_unref(f);
    }
    struct client *h = client_new(rig, 0);
    assert_int_equal(http(h, "GET", "/api/v1/conversations", who[0].token, NULL, NULL), 503);
    assert_int_equal(http(h, "GET", "/healthz", NULL, NULL, NULL), 200);
    /* Nor is who would take events away refused: of this session there are none. */
    assert_int_equal(http(h, "GET", "/api/v1/events/0080000000000fff", who[0].token, NULL, NULL),
                     404);
    assert_true(s->output_memory > BOUND);
    rig_pass(rig, 5000);
    assert_int_equal(http(h, "GET", "/api/v1/conversations", who[0].token, NULL, NULL), 200);
    client_drop(h);
    assert_true(s->output_memory <= BOUND / 4 * 3);
    int told = 0;
    int64_t closed = rig_total(rig, METRIC_SLOW_CONSUMERS_CLOSED);
    assert_in_range(closed, 3, STUCK);
    assert_int_equal(rig_total(rig, METRIC_SESSIONS), STUCK - closed);
    for (int i = 0; i < STUCK; i++) {
        /* The first may be cut before it has taken its close frame, when there was no room again.
         */
        uint16_t code = ws_close_code(k[i]);
        told += code == WS_CLOSE_TRY_LATER;
        assert_true(code == 0 || (code == WS_CLOSE_TRY_LATER && i < closed));
        assert_true(k[i]->eof || i >= closed || code != 0);
        client_drop(k[i]);
    }
    assert_true(told >= closed - 3);
    assert_int_equal(s->output_memory, 0);
    rig_free(rig);
}

/* ---- Large fan-outs ---- */

#define CROWD 60

static void small_turns(struct shard_config *cfg)
{
    cfg->fanout_chunk = 2;
    cfg->fanout_turn = 4;
    cfg->writes_turn = 8;
}

struct crowd {
    struct rig *rig;
    struct account who[CROWD];
    struct client *c[CROWD];
    char group[40];
};

static void crowd_init(struct crowd *w, uint16_t shards, void (*tune)(struct shard_config *cfg))
{
    struct buf json = {0};
    char *body = NULL;
    w->rig = rig_new(shards, tune);
    buf_put_str(&json, "{\"name\":\"g\",\"members\":[");
    for (int i = 0; i < CROWD; i++) {
        char name[16];
        snprintf(name, sizeof(name), "u%d", i);
        account_make(w->rig, name, &w->who[i]);
        buf_printf(&json, "%s\"%s\"", i ? "," : "", name);
    }
    buf_put_str(&json, "]}");
    buf_put_u8(&json, 0);
    struct client *h = client_new(w->rig, 0);
    assert_int_equal(http(h, "POST", "/api/v1/groups", w->who[0].token, (char *)json.data, &body),
                     201);
    snprintf(w->group, sizeof(w->group), "%s", json_text(body, "group_id"));
    free(body);
    buf_deinit(&json);
    client_drop(h);
    for (int i = 0; i < CROWD; i++) {
        w->c[i] = ws_live(w->rig, (uint16_t)(i % shards), &w->who[i], NULL);
    }
    rig_settle(w->rig);
    for (int i = 0; i < CROWD; i++) {
        while (ws_next(w->c[i])) {
        }
    }
}

static void crowd_deinit(struct crowd *w)
{
    for (int i = 0; i < CROWD; i++) {
        client_drop(w->c[i]);
    }
    for (uint16_t i = 0; i < w->rig->n; i++) {
        struct shard_stats st;
        shard_stats(w->rig->shards[i], &st);
        assert_int_equal(st.fanouts, 0);
        assert_int_equal(st.queued_bytes, 0);
        assert_int_equal(st.output_bytes, 0);
    }
    rig_free(w->rig);
}

static void put_in(struct client *c, const char *json)
{
    static const uint8_t zero[4];
    struct buf b = {0};
    size_t n;
    ws_put_frame(&b, WS_TEXT, span_str(json), zero);
    assert_int_equal(net_sim_send(c->conn, b.data, b.len, &n), CONFAB_OK);
    assert_int_equal(n, b.len);
    buf_deinit(&b);
}

static void say(struct crowd *w, struct client *c, int i)
{
    char text[200];
    snprintf(text, sizeof(text),
             "{\"event\":\"send_group_message\",\"group_id\":\"%s\",\"content\":\"m%d\","
             "\"client_msg_id\":\"%d\"}",
             w->group, i, i);
    put_in(c, text);
}

/* Makes the log durable and takes one turn of shard 0. */
static void one_turn(struct rig *rig)
{
    (void)log_mem_step(rig->log, SIZE_MAX);
    shard_turn(rig->shards[0], 0);
}

/* Takes what has come, without a turn. Is that text in it? */
static bool peek(struct client *c, const char *text)
{
    uint8_t some[65536];
    size_t n = 0;
    if (net_sim_recv(c->conn, some, sizeof(some), &n) == CONFAB_OK) {
        buf_put(&c->in, some, n);
    }
    return c->in.len > 0 && memmem(c->in.data, c->in.len, text, strlen(text));
}

/*
 * One message to 60 members in chunks of one, two a turn, eight writes a turn. Beside it
 * two people talk, and each of their messages is through within as many turns as without.
 */
static void test_fanout__yields_to_others(void **state)
{
    (void)state;
    static struct crowd w;
    crowd_init(&w, 1, small_turns);
    struct shard *s = w.rig->shards[0];
    struct account ann, bob;
    account_make(w.rig, "ann", &ann);
    account_make(w.rig, "bob", &bob);
    struct client *a = ws_live(w.rig, 0, &ann, NULL);
    struct client *b = ws_live(w.rig, 0, &bob, NULL);
    char hi[120];
    int turns[3] = {0};
    int waiting = 0;
    int64_t chunks = rig_total(w.rig, METRIC_FANOUT_CHUNKS);
    assert_int_equal(chunks, 0);
    for (int round = 0; round < 3; round++) { /* the first makes their conversation */
        char his[8];
        snprintf(his, sizeof(his), "hi%d", round);
        if (round == 2) {
            say(&w, w.c[0], 1);
            while (s->fanouts.nrunning == 0) {
                one_turn(w.rig);
            }
        }
        snprintf(hi, sizeof(hi),
                 "{\"event\":\"send_message\",\"to\":\"%s\",\"content\":\"hi%d\","
                 "\"client_msg_id\":\"%d\"}",
                 bob.user, round, round);
        put_in(a, hi);
        bool came = false;
        while (!came) {
            int64_t writes = rig_total(w.rig, METRIC_WRITES);
            int64_t before = rig_total(w.rig, METRIC_FANOUT_CHUNKS);
            one_turn(w.rig);
            assert_true(rig_total(w.rig, METRIC_WRITES) - writes <= 8 + 2);
            assert_true(rig_total(w.rig, METRIC_FANOUT_CHUNKS) - before <= 2);
            assert_true(++turns[round] < 50);
            came = peek(b, his);
        }
        for (int i = 1; i < CROWD && round == 2; i++) {
            waiting += !peek(w.c[i], "m1");
        }
        rig_settle(w.rig);
    }
    assert_int_equal(turns[1], turns[2]);
    assert_true(waiting > 0); /* the small one did not wait for the large one */
    /* One for each who gets it; what two say goes out as it comes. */
    assert_int_equal(rig_total(w.rig, METRIC_FANOUT_CHUNKS) - chunks, CROWD - 1);
    assert_true(rig_total(w.rig, METRIC_FANOUT_YIELDS) > 0);
    for (int i = 1; i < CROWD; i++) {
        ws_expect(w.c[i], "new_message");
        assert_null(ws_next(w.c[i]));
    }
    ws_expect(w.c[0], "ack");
    client_drop(a);
    client_drop(b);
    crowd_deinit(&w);
}

static void medium_turns(struct shard_config *cfg)
{
    cfg->fanout_chunk = 64;
    cfg->fanout_turn = 128;
    cfg->writes_turn = 64;
}

/* Who waits to be written gets more at little cost: several messages go out in one write. */
static void test_fanout__several_in_one_write(void **state)
{
    (void)state;
    enum { MESSAGES = 16 };
    static struct crowd w;
    crowd_init(&w, 1, medium_turns);
    int64_t writes = rig_total(w.rig, METRIC_WRITES);
    for (int i = 0; i < MESSAGES; i++) {
        say(&w, w.c[0], i);
    }
    rig_settle(w.rig);
    writes = rig_total(w.rig, METRIC_WRITES) - writes;
    for (int k = 1; k < CROWD; k++) {
        for (int i = 0; i < MESSAGES; i++) {
            ws_expect(w.c[k], "new_message");
        }
        assert_null(ws_next(w.c[k]));
    }
    /* By twos, as the turn has room for whole messages to everybody, it would be eight for each. */
    assert_true(writes <= 5 * CROWD);
    crowd_deinit(&w);
}

/*
 * A session comes at each point of a fan-out that runs in chunks: it has the message by its resume
 * or live, and what follows too, and no other session has anything twice.
 */
static void test_fanout__resume_within(void **state)
{
    (void)state;
    for (int at = 0; at < 24; at++) {
        static struct crowd w;
        crowd_init(&w, 1, small_turns);
        int late = at * 5 % (CROWD - 1) + 1;
        client_drop(w.c[late]);
        w.c[late] = ws_open(w.rig, 0, w.who[late].token);
        ws_expect(w.c[late], "hello");
        for (int i = 0; i < 3; i++) {
            say(&w, w.c[0], i);
        }
        for (int i = 0; i < at; i++) {
            one_turn(w.rig);
        }
        put_in(w.c[late], "{\"event\":\"resume\"}");
        rig_settle(w.rig);
        unsigned seen = 0;
        bool caught_up = false;
        uint64_t last = 0;
        const char *f;
        while ((f = ws_next(w.c[late])) != NULL) {
            for (unsigned i = 0; i < 3; i++) {
                char want[32];
                snprintf(want, sizeof(want), "\"content\":\"m%u\"", i);
                seen |= strstr(f, want) ? 1U << i : 0;
            }
            if (strncmp(f, "{\"event\":\"new_message\"", 22) == 0) {
                assert_true(json_number_of(f, "seq") > last);
                last = json_number_of(f, "seq");
            }
            caught_up = caught_up || strstr(f, "\"caught_up\"");
        }
        assert_true(caught_up);
        assert_int_equal(seen, 7);
        for (int k = 1; k < CROWD; k++) {
            for (int i = 0; i < 3 && k != late; i++) {
                char want[16];
                snprintf(want, sizeof(want), "m%d", i);
                assert_string_equal(json_text(ws_expect(w.c[k], "new_message"), "content"), want);
            }
            assert_null(ws_next(w.c[k]));
        }
        crowd_deinit(&w);
    }
}

/* More fan-outs than may wait: links are not read meanwhile, and nothing is lost. */
static void few_fanouts(struct shard_config *cfg)
{
    small_turns(cfg);
    cfg->fanouts_max = 2;
}

static void test_fanout__full_leaves_it_in_the_link(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, few_fanouts);
    struct account who[12];
    struct client *c[12];
    for (int i = 0; i < 12; i++) {
        char name[16];
        snprintf(name, sizeof(name), "u%d", i);
        account_make(rig, name, &who[i]);
        c[i] = ws_live(rig, 0, &who[i], NULL);
    }
    for (int i = 1; i < 12; i++) {
        for (int k = 0; k < 5; k++) {
            char text[160];
            snprintf(text, sizeof(text),
                     "{\"event\":\"send_message\",\"to\":\"%s\",\"content\":\"%d\","
                     "\"client_msg_id\":\"%d-%d\"}",
                     who[i].user, k, i, k);
            put_in(c[0], text);
        }
    }
    rig_settle(rig);
    assert_true(rig_total(rig, METRIC_BOUND_QUEUE) > 0);
    assert_int_equal(rig_total(rig, METRIC_SLOW_CONSUMERS), 0);
    for (int i = 1; i < 12; i++) {
        for (int k = 0; k < 5; k++) {
            char want[8];
            snprintf(want, sizeof(want), "%d", k);
            assert_string_equal(json_text(ws_expect(c[i], "new_message"), "content"), want);
        }
        client_drop(c[i]);
    }
    client_drop(c[0]);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output__forgetting_leaves_the_rest_whole),
        cmocka_unit_test(test_output__ephemeral_goes_first),
        cmocka_unit_test(test_output__unread_answers_end_with_1013),
        cmocka_unit_test(test_memory__slowest_pull_first),
        cmocka_unit_test(test_memory__then_they_are_closed),
        cmocka_unit_test(test_fanout__yields_to_others),
        cmocka_unit_test(test_fanout__several_in_one_write),
        cmocka_unit_test(test_fanout__resume_within),
        cmocka_unit_test(test_fanout__full_leaves_it_in_the_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
