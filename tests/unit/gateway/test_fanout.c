/* Fan-out, links that are full, slow and silent readers, and what an idle session costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rig.h"

static void send_to(struct client *c, const char *to, int i)
{
    char json[200];
    snprintf(json, sizeof(json),
             "{\"event\":\"send_message\",\"%s\":\"%s\",\"content\":\"m%d\",\"client_msg_id\":"
             "\"%d\",\"fresh\":true}",
             strlen(to) == 32 ? "conversation_id" : "to", to, i, i);
    ws_send(c, json);
}

/* ---- Fan-out ---- */

static void tiny_chunks(struct shard_config *cfg)
{
    cfg->fanout_chunk = 2;
    cfg->fanout_turn = 3;
    cfg->fanouts_max = 5;
    cfg->writes_turn = 4;
}

#define MEMBERS 9
#define ROUNDS  12

/* Every member sends; everybody sees all of it once, in the order of seq, acks included. */
static void everybody_in_order(uint16_t shards, void (*tune)(struct shard_config *cfg))
{
    struct rig *rig = rig_new(shards, tune);
    struct account who[MEMBERS];
    struct client *c[MEMBERS];
    struct buf json = {0};
    char *body = NULL;
    char group[40];
    buf_put_str(&json, "{\"name\":\"g\",\"members\":[");
    for (int i = 0; i < MEMBERS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "u%d", i);
        account_make(rig, name, &who[i]);
        buf_printf(&json, "%s\"%s\"", i ? "," : "", name);
    }
    buf_put_str(&json, "]}");
    buf_put_u8(&json, 0);
    struct client *h = client_new(rig, 0);
    assert_int_equal(http(h, "POST", "/api/v1/groups", who[0].token, (char *)json.data, &body),
                     201);
    snprintf(group, sizeof(group), "%s", json_text(body, "group_id"));
    free(body);
    buf_deinit(&json);
    client_drop(h);
    for (int i = 0; i < MEMBERS; i++) {
        c[i] = ws_live(rig, (uint16_t)(i % shards), &who[i], NULL);
    }
    /* All frames of a member go in as one segment, so that the fan-outs run beside each other. */
    for (int i = 0; i < MEMBERS; i++) {
        struct buf b = {0};
        static const uint8_t zero[4];
        for (int k = 0; k < ROUNDS; k++) {
            char text[200];
            snprintf(text, sizeof(text),
                     "{\"event\":\"send_group_message\",\"group_id\":\"%s\",\"content\":\"%d\","
                     "\"client_msg_id\":\"%d\"}",
                     group, k, k);
            ws_put_frame(&b, WS_TEXT, span_str(text), zero);
        }
        size_t n;
        assert_int_equal(net_sim_send(c[i]->conn, b.data, b.len, &n), CONFAB_OK);
        assert_int_equal(n, b.len);
        buf_deinit(&b);
    }
    for (int i = 0; i < MEMBERS; i++) {
        uint64_t next = 2; /* 1 made the group */
        const char *f;
        while ((f = ws_next(c[i])) != NULL) {
            if (strstr(f, group) && strstr(f, "\"seq\":") && !strstr(f, "_receipt")) {
                assert_int_equal(json_number_of(f, "seq"), next);
                next++;
            }
        }
        assert_int_equal(next, 2 + MEMBERS * ROUNDS);
        client_drop(c[i]);
    }
    for (uint16_t i = 0; i < shards; i++) {
        struct shard_stats st;
        shard_stats(rig->shards[i], &st);
        assert_int_equal(st.fanouts, 0);
        assert_int_equal(st.queued_bytes, 0);
    }
    rig_free(rig);
}

static void test_fanout__in_order(void **state)
{
    (void)state;
    everybody_in_order(1, NULL);
    everybody_in_order(3, NULL);
}

static void test_fanout__in_order_in_chunks(void **state)
{
    (void)state;
    everybody_in_order(1, tiny_chunks);
    everybody_in_order(3, tiny_chunks);
}

/* ---- Links ---- */

static void tiny_links(struct shard_config *cfg)
{
    cfg->link_credits = 4;
    cfg->link_deliveries = 8;
}

static void forgetful_links(struct shard_config *cfg)
{
    tiny_links(cfg);
    cfg->link_behind_max = 0;
}

/* Two people whose conversation belongs to shard 0. */
static void two_people(struct rig *rig, struct account *a, struct account *b)
{
    account_make(rig, "ann", a);
    for (int i = 0;; i++) {
        char name[16];
        uint64_t x = strtoull(a->user, NULL, 10);
        snprintf(name, sizeof(name), "bob%d", i);
        account_make(rig, name, b);
        uint64_t y = strtoull(b->user, NULL, 10);
        if (engine_shard_of(conv_id_partition(conv_id_direct(x, y)), rig->n) == 0) {
            return;
        }
    }
}

static void link_falls_behind(void (*tune)(struct shard_config *cfg))
{
    struct rig *rig = rig_new(2, tune);
    struct account ann, bob;
    char since[64];
    two_people(rig, &ann, &bob);
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 1, &bob, since);
    send_to(a, bob.name, 0);
    ws_expect(a, "ack");
    ws_expect(b, "new_message");
    rig->stalled[1] = true;
    for (int i = 1; i <= 40; i++) {
        send_to(a, bob.user, i);
        ws_expect(a, "ack"); /* the sender waits for nobody */
    }
    assert_true(rig_total(rig, METRIC_RING_FULL) >= 1);
    rig->stalled[1] = false;
    int got = 0;
    const char *f;
    bool resync = false;
    while ((f = ws_next(b)) != NULL) {
        assert_false(resync); /* nothing live follows it */
        got += strstr(f, "\"new_message\"") != NULL;
        resync = strstr(f, "\"resync\"") != NULL;
    }
    assert_true(resync);
    assert_true(got < 40);
    char json[120];
    snprintf(json, sizeof(json), "{\"event\":\"resume\",\"since\":\"%s\"}", since);
    ws_send(b, json);
    bool all = false;
    while ((f = ws_next(b)) != NULL && !strstr(f, "\"caught_up\"")) {
        all = all || (strstr(f, "\"m1\"") && strstr(f, "\"m40\""));
    }
    assert_true(all);
    send_to(a, bob.user, 41);
    assert_string_equal(json_text(ws_expect(b, "new_message"), "content"), "m41");
    client_drop(a);
    client_drop(b);
    rig_free(rig);
}

static void test_link__full_ring_asks_for_a_resume(void **state)
{
    (void)state;
    link_falls_behind(tiny_links);
}

#define BURST 600

static void slow_fanout(struct shard_config *cfg)
{
    cfg->fanout_turn = 2;
    cfg->fanouts_max = 8;
    /* A ring's size is a power of two: 2 * credits and these are 2,048. */
    cfg->link_credits = 800;
    cfg->link_deliveries = 448;
    cfg->inflight_max = BURST;
    cfg->queue_frames_max = 2 * BURST;
}

/* More becomes durable at once than a turn can fan out, and than a link has room for. */
static void test_link__a_burst_waits_with_the_log(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, slow_fanout);
    struct account ann, bob;
    two_people(rig, &ann, &bob);
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 0, &bob, NULL);
    rig->hold_log = true;
    for (int i = 0; i < BURST; i++) {
        send_to(a, bob.user, i);
        rig_settle(rig);
    }
    rig->hold_log = false;
    for (int i = 0; i < BURST; i++) {
        char text[16];
        snprintf(text, sizeof(text), "m%d", i);
        assert_string_equal(json_text(ws_expect(b, "new_message"), "content"), text);
    }
    assert_int_equal(rig_total(rig, METRIC_RING_FULL), 0);
    client_drop(a);
    client_drop(b);
    rig_free(rig);
}

static void test_link__full_memory_of_the_changed_asks_all(void **state)
{
    (void)state;
    link_falls_behind(forgetful_links);
}

/* The owner of the conversation does not answer: nothing more is read from who writes to it. */
static void test_link__no_credit_holds_the_sender(void **state)
{
    (void)state;
    struct rig *rig = rig_new(2, tiny_links);
    struct account ann, bob;
    two_people(rig, &ann, &bob);
    struct client *a = ws_live(rig, 1, &ann, NULL);
    rig->stalled[0] = true;
    for (int i = 0; i < 8; i++) {
        send_to(a, bob.user, i);
    }
    assert_null(ws_next(a));
    assert_int_equal(rig_total(rig, METRIC_SENDERS_HELD), 1);
    assert_int_equal(rig_total(rig, METRIC_CREDIT_REFUSED) > 0, 1);
    rig->stalled[0] = false;
    for (int i = 0; i < 8; i++) {
        char want[8];
        snprintf(want, sizeof(want), "%d", i);
        assert_string_equal(json_text(ws_expect(a, "ack"), "client_msg_id"), want);
    }
    client_drop(a);
    rig_free(rig);
}

/* ---- Slow and silent readers ---- */

static void small_queue(struct shard_config *cfg)
{
    cfg->queue_bytes_max = 8192;
}

/* bob stops reading; ann sends until frames for him are dropped. */
static int fill(struct rig *rig, struct client *a, const struct account *bob)
{
    int i = 0;
    while (rig_total(rig, METRIC_SLOW_CONSUMERS) == 0) {
        assert_true(i < 2000);
        send_to(a, bob->user, i++);
        ws_expect(a, "ack");
    }
    return i;
}

static void test_slow__reader_gets_resync_and_loses_nothing(void **state)
{
    (void)state;
    struct rig *rig = rig_new(2, small_queue);
    struct account ann, bob;
    char since[64];
    two_people(rig, &ann, &bob);
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 1, &bob, since);
    int sent = fill(rig, a, &bob);
    send_to(a, bob.user, sent++);
    ws_expect(a, "ack");
    int got = 0;
    const char *f;
    while ((f = ws_next(b)) != NULL && !strstr(f, "\"resync\"")) {
        char want[32];
        if (!strstr(f, "\"new_message\"")) {
            continue; /* his own log learns of the conversation */
        }
        snprintf(want, sizeof(want), "m%d", got);
        assert_string_equal(json_text(f, "content"), want);
        got++;
    }
    assert_non_null(f);
    /* What the net had taken; what waited with the server is not worth the way any more. */
    assert_in_range(got, 1, sent - 2);
    assert_null(ws_next(b));
    char json[120];
    snprintf(json, sizeof(json), "{\"event\":\"resume\",\"since\":\"%s\"}", since);
    ws_send(b, json);
    f = ws_expect(b, "conversations");
    char want[32];
    snprintf(want, sizeof(want), "\"content\":\"m%d\"", sent - 1);
    assert_non_null(strstr(f, want));
    ws_expect(b, "caught_up");
    client_drop(a);
    client_drop(b);
    rig_free(rig);
}

static void test_slow__never_reading_ends_with_1013(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, small_queue);
    struct account ann, bob;
    two_people(rig, &ann, &bob);
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 0, &bob, NULL);
    fill(rig, a, &bob);
    rig_pass(rig, 31000);
    assert_int_equal(rig_total(rig, METRIC_SLOW_CONSUMERS_CLOSED), 1);
    assert_int_equal(rig_total(rig, METRIC_SESSIONS), 1);
    assert_int_equal(ws_close_code(b), 1013);
    client_drop(b);
    rig_pass(rig, 11000);
    assert_int_equal(rig_total(rig, METRIC_CONNECTIONS), 1);
    client_drop(a);
    rig_free(rig);
}

static void test_slow__asking_without_reading_is_held(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, small_queue);
    struct account ann;
    struct shard_stats st;
    account_make(rig, "ann", &ann);
    struct client *c = ws_open(rig, 0, ann.token);
    struct buf b = {0};
    static const uint8_t zero[4];
    for (int i = 0; i < 1000; i++) {
        ws_put_frame(&b, WS_TEXT, span_str("{\"event\":\"heartbeat\"}"), zero);
    }
    size_t sent = 0;
    for (int i = 0; i < 200; i++) {
        size_t n = 0;
        if (net_sim_send(c->conn, b.data, b.len, &n) == CONFAB_OK) {
            sent += n;
        }
        rig_settle(rig);
        shard_stats(rig->shards[0], &st);
        assert_true(st.queued_bytes < 16384);
    }
    assert_true(sent < 400000); /* the rest stays with the sender */
    buf_deinit(&b);
    client_drop(c);
    shard_stats(rig->shards[0], &st);
    assert_int_equal(st.connections, 0);
    rig_free(rig);
}

/* Heartbeats, as many as the connection takes; *io_at is where in a frame it stopped. */
static void pour_heartbeats(struct client *c, size_t *io_at)
{
    struct buf b = {0};
    static const uint8_t zero[4];
    ws_put_frame(&b, WS_TEXT, span_str("{\"event\":\"heartbeat\"}"), zero);
    size_t n = 0;
    while (net_sim_send(c->conn, b.data + *io_at, b.len - *io_at, &n) == CONFAB_OK && n > 0) {
        *io_at = (*io_at + n) % b.len;
    }
    buf_deinit(&b);
}

/* Nothing is read from it and its pong is far away, but it takes what it is given. */
static void test_slow__taking_slowly_is_a_sign_of_life(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, NULL);
    struct account ann;
    struct shard_stats st = {0};
    account_make(rig, "ann", &ann);
    struct client *c = ws_open(rig, 0, ann.token);
    size_t at = 0;
    size_t n = 0;
    for (uint64_t before = UINT64_MAX; st.queued_bytes == 0 || st.queued_bytes != before;) {
        before = st.queued_bytes;
        pour_heartbeats(c, &at);
        rig_settle(rig);
        shard_stats(rig->shards[0], &st);
    }
    for (int i = 0; i < 30; i++) {
        static uint8_t some[200];
        assert_int_equal(net_sim_recv(c->conn, some, sizeof(some), &n), CONFAB_OK);
        pour_heartbeats(c, &at);
        rig_pass(rig, 10000);
    }
    assert_int_equal(rig_total(rig, METRIC_SESSIONS), 1);
    /* And when it takes nothing more, it is gone. */
    rig_pass(rig, 140000);
    assert_int_equal(rig_total(rig, METRIC_SESSIONS), 0);
    client_drop(c);
    rig_free(rig);
}

/* ---- Costs ---- */

static void test_conn__idle_session_is_small(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, NULL);
    struct account ann;
    struct shard_stats st;
    struct client *c[64];
    account_make(rig, "ann", &ann);
    assert_true(sizeof(struct conn) <= 128);
    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        c[i] = ws_live(rig, 0, &ann, NULL);
    }
    for (uint32_t i = 0; i < ARRAY_LEN(c); i++) {
        struct conn *k = conn_at(rig->shards[0], i);
        if (k) {
            assert_null(k->io);
            assert_int_equal(k->out_head, SLAB_NONE);
        }
    }
    assert_int_equal(slab_count(&rig->shards[0]->chunks), 0);
    /* What sessions of different users take in the index, at its emptiest. */
    struct u64map m;
    u64map_init(&m, 1);
    for (uint64_t i = 1; i <= 10000; i++) {
        assert_int_equal(u64map_put(&m, i, i), CONFAB_OK);
    }
    /* And what the home of each of these users keeps of their presence. */
    struct presence *p;
    struct presence_config cfg;
    presence_config_defaults(&cfg);
    assert_int_equal(presence_new(&cfg, 1, 0, &p), CONFAB_OK);
    for (uint64_t i = 1; i <= 10000; i++) {
        assert_int_equal(presence_report(p, i, 0, PRESENCE_ONLINE, false, 1, 0), CONFAB_OK);
    }
    assert_true(sizeof(struct conn) + sizeof(uint32_t) * 2 + u64map_bytes(&m) / 10000 +
                    sizeof(struct presence_session) + presence_bytes(p) / 10000 <=
                400);
    presence_free(p);
    u64map_deinit(&m);
    shard_stats(rig->shards[0], &st);
    assert_int_equal(st.sessions, ARRAY_LEN(c));
    assert_int_equal(st.users, 1);
    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        client_drop(c[i]);
    }
    shard_stats(rig->shards[0], &st);
    assert_int_equal(st.sessions, 0);
    assert_int_equal(st.users, 0);
    rig_free(rig);
}

static void few_connections(struct shard_config *cfg)
{
    cfg->connections_max = 3;
}

static void test_conn__bound_of_connections(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, few_connections);
    struct client *c[4];
    for (int i = 0; i < 4; i++) {
        c[i] = client_new(rig, 0);
    }
    client_recv(c[3]);
    assert_true(c[3]->eof);
    assert_int_equal(http(c[0], "GET", "/healthz", NULL, NULL, NULL), 200);
    client_drop(c[1]);
    client_drop(c[3]);
    c[1] = client_new(rig, 0);
    assert_int_equal(http(c[1], "GET", "/healthz", NULL, NULL, NULL), 200);
    for (int i = 0; i < 3; i++) {
        client_drop(c[i]);
    }
    rig_free(rig);
}

static void test_conn__stale_id_names_nobody(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, NULL);
    struct client *c = client_new(rig, 0);
    struct shard *s = rig->shards[0];
    uint64_t id = conn_id(s, conn_at(s, 0));
    assert_ptr_equal(conn_of_id(s, id), conn_at(s, 0));
    client_drop(c);
    assert_null(conn_of_id(s, id));
    c = client_new(rig, 0);
    assert_non_null(conn_at(s, 0));
    assert_null(conn_of_id(s, id));
    assert_null(conn_of_id(s, 0));
    assert_null(conn_of_id(s, UINT64_MAX));
    client_drop(c);
    rig_free(rig);
}

/* Bytes that mean nothing, in all sizes: the shard answers or closes, and others are served. */
static void test_conn__garbage_costs_only_its_sender(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, NULL);
    struct account ann;
    struct random_seeded rnd;
    random_seeded_init(&rnd, 99);
    account_make(rig, "ann", &ann);
    struct client *good = ws_live(rig, 0, &ann, NULL);
    for (int i = 0; i < 200; i++) {
        uint8_t junk[600];
        struct client *c = i % 2 ? client_new(rig, 0) : ws_open(rig, 0, ann.token);
        size_t n = 1 + (size_t)random_below(&rnd.base, sizeof(junk));
        random_fill(&rnd.base, junk, n);
        if (i % 2 == 0) {
            junk[0] = (uint8_t)(0x80 | (junk[0] & 15));
        }
        client_send(c, junk, n);
        client_drop(c);
        ws_send(good, "{\"event\":\"heartbeat\"}");
        ws_expect(good, "heartbeat");
    }
    client_drop(good);
    assert_int_equal(rig_total(rig, METRIC_CONNECTIONS), 0);
    assert_int_equal(rig_total(rig, METRIC_SESSIONS), 0);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fanout__in_order),
        cmocka_unit_test(test_fanout__in_order_in_chunks),
        cmocka_unit_test(test_link__full_ring_asks_for_a_resume),
        cmocka_unit_test(test_link__full_memory_of_the_changed_asks_all),
        cmocka_unit_test(test_link__a_burst_waits_with_the_log),
        cmocka_unit_test(test_link__no_credit_holds_the_sender),
        cmocka_unit_test(test_slow__reader_gets_resync_and_loses_nothing),
        cmocka_unit_test(test_slow__never_reading_ends_with_1013),
        cmocka_unit_test(test_slow__asking_without_reading_is_held),
        cmocka_unit_test(test_slow__taking_slowly_is_a_sign_of_life),
        cmocka_unit_test(test_conn__idle_session_is_small),
        cmocka_unit_test(test_conn__bound_of_connections),
        cmocka_unit_test(test_conn__stale_id_names_nobody),
        cmocka_unit_test(test_conn__garbage_costs_only_its_sender),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
