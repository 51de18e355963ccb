/* Resume: pages, tokens, what was missed, and what happens meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rig.h"

static struct rig *rig;
static struct account ann;
static struct account bob;

static int setup_shards(uint16_t n)
{
    rig = rig_new(n, NULL);
    account_make(rig, "ann", &ann);
    account_make(rig, "bob", &bob);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return setup_shards(1);
}

static int setup_four(void **state)
{
    (void)state;
    return setup_shards(4);
}

static int teardown(void **state)
{
    (void)state;
    rig_free(rig);
    return 0;
}

/* Sends `n` messages from a session; *ret_conv gets the conversation. */
static void send_some(struct client *c, const char *to, int from, int n, char ret_conv[40])
{
    for (int i = from; i < from + n; i++) {
        char json[200];
        snprintf(json, sizeof(json),
                 "{\"event\":\"send_message\",\"to\":\"%s\",\"content\":\"m%d\","
                 "\"client_msg_id\":\"%s%d\"}",
                 to, i, to, i);
        ws_send(c, json);
        const char *f = ws_expect(c, "ack");
        if (ret_conv) {
            snprintf(ret_conv, 40, "%s", json_text(f, "conversation_id"));
        }
    }
}

/* Everything up to caught_up, one frame a line; *ret_since gets the token. Free it. */
static char *resume(struct client *c, const char *json, char ret_since[64])
{
    struct buf all = {0};
    const char *f;
    ws_send(c, json);
    while ((f = ws_next(c)) != NULL) {
        buf_put_str(&all, f);
        buf_put_str(&all, "\n");
        if (strncmp(f, "{\"event\":\"caught_up\"", 20) == 0) {
            snprintf(ret_since, 64, "%s", json_text(f, "since"));
            buf_put_u8(&all, 0);
            return (char *)all.data;
        }
    }
    fail_msg("no caught_up came");
    return NULL;
}

static char *resume_since(struct client *c, const char *since, char ret_since[64])
{
    char json[160];
    snprintf(json, sizeof(json), "{\"event\":\"resume\",\"since\":\"%s\"}", since);
    return resume(c, json, ret_since);
}

static int count(const char *text, const char *what)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++) {
        n++;
    }
    return n;
}

static void test_resume__first_has_everything(void **state)
{
    (void)state;
    char since[64];
    char conv[40];
    struct client *a = ws_live(rig, 0, &ann, NULL);
    send_some(a, "bob", 0, 5, conv);
    struct client *b = ws_open(rig, 0, bob.token);
    char *all = resume(b, "{\"event\":\"resume\"}", since);
    assert_int_equal(count(all, "\"event\":\"new_message\""), 5);
    assert_non_null(strstr(all, conv));
    assert_non_null(strstr(all, "\"unread\":5"));
    assert_non_null(strstr(all, "\"content\":\"m4\""));
    assert_non_null(strstr(all, "\"type\":\"direct\""));
    assert_non_null(strstr(all, "\"type\":\"self\""));
    free(all);
    client_drop(a);
    client_drop(b);
}

static void test_resume__brings_only_what_was_missed(void **state)
{
    (void)state;
    char since[64];
    struct client *a = ws_live(rig, 0, &ann, NULL);
    send_some(a, "bob", 0, 3, NULL);
    rig_pass(rig, 100);
    struct client *b = ws_live(rig, 0, &bob, since);
    client_drop(b);
    rig_pass(rig, 100);
    send_some(a, "bob", 3, 4, NULL);
    b = ws_open(rig, 0, bob.token);
    char *all = resume_since(b, since, since);
    assert_int_equal(count(all, "\"event\":\"new_message\""), 4);
    assert_null(strstr(all, "\"content\":\"m2\""));
    assert_int_equal(count(all, "\"conversation_id\":\"") >= 5, 1);
    free(all);
    /* And again: nothing. */
    rig_pass(rig, 100);
    client_drop(b);
    b = ws_open(rig, 0, bob.token);
    all = resume_since(b, since, since);
    assert_int_equal(count(all, "new_message"), 0);
    assert_int_equal(count(all, "conversations"), 0);
    free(all);
    client_drop(a);
    client_drop(b);
}

static void test_resume__bad_token_is_none(void **state)
{
    (void)state;
    static const char *const bad[] = {"x",
                                      "1-1a",
                                      "2-",
                                      "2-1a",
                                      "2--1a",
                                      "2-1a-",
                                      "2-1-xy",
                                      "2-1-1a-",
                                      "2-1-1A",
                                      "2-1-ffffffffffffff",
                                      "2-11111111111111111-1a"};
    char since[64];
    struct client *a = ws_live(rig, 0, &ann, NULL);
    send_some(a, "bob", 0, 2, NULL);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct client *b = ws_open(rig, 0, bob.token);
        char *all = resume_since(b, bad[i], since);
        assert_int_equal(count(all, "\"event\":\"new_message\""), 2);
        free(all);
        client_drop(b);
    }
    client_drop(a);
}

static void test_resume__token_text(void **state)
{
    (void)state;
    static const uint64_t times[] = {0, 1, 15, 16, 1800000000000ULL, (1ULL << 52) - 1};
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        char text[RESUME_TOKEN_BYTES];
        uint64_t ms = 77;
        uint64_t epoch = 77;
        size_t n = resume_token_write(UINT64_MAX - i, times[i], text);
        assert_in_range(n, 1, sizeof(text));
        assert_true(resume_token_parse(span_of(text, n), &epoch, &ms));
        assert_int_equal(ms, times[i]);
        assert_true(epoch == UINT64_MAX - i);
    }
}

static void test_resume__have_beyond_the_token(void **state)
{
    (void)state;
    char since[64];
    char conv[40];
    char json[300];
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 0, &bob, since);
    send_some(a, "bob", 0, 3, conv);
    uint64_t seq = 0;
    char id[32] = "";
    for (int i = 0; i < 2; i++) {
        const char *f = ws_expect(b, "new_message");
        seq = json_number_of(f, "seq");
        snprintf(id, sizeof(id), "%s", json_text(f, "event_id"));
    }
    client_drop(b);
    b = ws_open(rig, 0, bob.token);
    snprintf(json, sizeof(json),
             "{\"event\":\"resume\",\"since\":\"%s\",\"have\":[{\"conversation_id\":\"%s\",\"seq\":"
             "%d,\"event_id\":\"%s\"}]}",
             since, conv, (int)seq, id);
    char *all = resume(b, json, since);
    assert_int_equal(count(all, "\"event\":\"new_message\""), 1);
    assert_non_null(strstr(all, "\"content\":\"m2\""));
    free(all);
    client_drop(a);
    client_drop(b);
}

/* After a restore: the client has an own log that this server knows nothing of. */
static void test_resume__an_own_log_that_is_gone(void **state)
{
    (void)state;
    char since[64];
    char own[ID_CONV_TEXT + 1] = "";
    char json[300];
    struct client *a = ws_live(rig, 0, &ann, since);
    client_drop(a);
    a = ws_open(rig, 0, ann.token);
    conv_id_text(conv_id_self(strtoull(ann.user, NULL, 10)), own);
    snprintf(json, sizeof(json),
             "{\"event\":\"resume\",\"since\":\"%s\",\"have\":[{\"conversation_id\":\"%s\",\"seq\":"
             "2,\"event_id\":\"77\"}]}",
             since, own);
    char *all = resume(a, json, since);
    assert_int_equal(count(all, own), 1);
    assert_non_null(strstr(all, "\"type\":\"self\""));
    assert_non_null(strstr(all, "\"left\":true"));
    assert_non_null(strstr(all, "\"reset\":true"));
    assert_int_equal(rig_total(rig, METRIC_RESUME_GONE), 1);
    free(all);
    /* One that is there, and is not the client's, is a row as any other. */
    send_some(a, "bob", 0, 1, NULL);
    client_drop(a);
    a = ws_open(rig, 0, ann.token);
    all = resume(a, json, since);
    assert_int_equal(rig_total(rig, METRIC_RESUME_GONE), 1);
    assert_non_null(strstr(all, "\"reset\":true"));
    assert_null(strstr(all, "\"left\":true"));
    free(all);
    client_drop(a);
}

/* After a restore: of what a token covered nothing is sure, not even of what was left since. */
static void test_resume__a_token_of_a_lost_time(void **state)
{
    (void)state;
    char since[64];
    char group[64];
    char path[160];
    char json[200];
    char *body = NULL;
    struct client *h = client_new(rig, 0);
    snprintf(json, sizeof(json), "{\"name\":\"g\",\"members\":[\"%s\"]}", bob.user);
    assert_int_equal(http(h, "POST", "/api/v1/groups", ann.token, json, &body), 201);
    snprintf(group, sizeof(group), "%s", json_text(body, "group_id"));
    free(body);
    snprintf(path, sizeof(path), "/api/v1/groups/%s/members/%s", group, bob.user);
    assert_int_equal(http(h, "DELETE", path, ann.token, NULL, NULL), 200);
    rig_pass(rig, 3000);
    struct client *b = ws_live(rig, 0, &bob, since);
    client_drop(b);
    for (int lost = 0; lost < 2; lost++) {
        uint64_t epoch = 0;
        uint64_t ms = 0;
        assert_true(resume_token_parse(span_str(since), &epoch, &ms));
        char text[RESUME_TOKEN_BYTES];
        size_t n = resume_token_write(epoch ^ 2, ms, text);
        char token[RESUME_TOKEN_BYTES + 1];
        snprintf(token, sizeof(token), "%.*s", lost ? (int)n : 1, text); /* or none at all */
        b = ws_open(rig, 0, bob.token);
        char *all = resume_since(b, token, since);
        const char *row = strstr(all, group);
        assert_non_null(row);
        assert_non_null(strstr(row, "\"left\":true"));
        assert_int_equal(strstr(row, "\"left\":true,\"reset\":true") != NULL, lost);
        free(all);
        client_drop(b);
    }
    client_drop(h);
}

static void test_resume__limited_when_much_is_missing(void **state)
{
    (void)state;
    char since[64];
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 0, &bob, since);
    client_drop(b);
    rig_pass(rig, 10);
    send_some(a, "bob", 0, 130, NULL);
    b = ws_open(rig, 0, bob.token);
    char *all = resume_since(b, since, since);
    assert_int_equal(count(all, "\"event\":\"new_message\""), 100);
    assert_non_null(strstr(all, "\"limited\":true"));
    assert_non_null(strstr(all, "\"content\":\"m129\""));
    assert_null(strstr(all, "\"content\":\"m29\""));
    free(all);
    client_drop(a);
    client_drop(b);
}

/* Seconds, hours, weeks: the token is good whenever it comes back, whatever went on meanwhile. */
static void test_resume__however_long_one_was_away(void **state)
{
    (void)state;
    static const uint64_t away_s[] = {3, 4 * 3600, 31 * 24 * 3600};
    char since[64];
    char conv[40];
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 0, &bob, since);
    send_some(a, "bob", 0, 5, conv);
    free(resume_since(b, since, since));
    client_drop(b);
    for (int k = 0; k < (int)ARRAY_LEN(away_s); k++) {
        int first = 100 * (k + 1);
        client_drop(a);
        clock_sim_advance(&rig->clock, away_s[k] / 2 * 1000000000ULL);
        rig_pass(rig, 10);
        account_login(rig, &ann);
        a = ws_live(rig, 0, &ann, NULL);
        send_some(a, "bob", first, 3, NULL);
        client_drop(a);
        clock_sim_advance(&rig->clock, away_s[k] / 2 * 1000000000ULL);
        rig_pass(rig, 10);
        account_login(rig, &ann);
        account_login(rig, &bob);
        a = ws_live(rig, 0, &ann, NULL);
        b = ws_open(rig, 0, bob.token);
        char *all = resume_since(b, since, since);
        assert_int_equal(count(all, "\"event\":\"new_message\""), 3);
        assert_int_equal(count(all, "\"limited\":true"), 0);
        char last[32];
        snprintf(last, sizeof(last), "\"content\":\"m%d\"", first + 2);
        assert_non_null(strstr(all, last));
        free(all);
        all = resume_since(b, since, since);
        assert_int_equal(count(all, "\"event\":\"new_message\""), 0);
        free(all);
        client_drop(b);
    }
    client_drop(a);
}

static void test_resume__large_events_are_trimmed(void **state)
{
    (void)state;
    char since[64];
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct buf b = {0};
    for (int i = 0; i < 10; i++) {
        buf_clear(&b);
        buf_printf(&b,
                   "{\"event\":\"send_message\",\"to\":\"bob\",\"client_msg_id\":\"%d\","
                   "\"content\":\"%d%016000d\"}",
                   i, i, 0);
        ws_send_frame(a, 0x81, b.data, b.len);
        ws_expect(a, "ack");
    }
    buf_deinit(&b);
    struct client *c = ws_open(rig, 0, bob.token);
    char *all = resume(c, "{\"event\":\"resume\"}", since);
    int n = count(all, "\"event\":\"new_message\"");
    assert_true(n >= 3 && n <= 5);
    assert_non_null(strstr(all, "\"content\":\"9000"));
    assert_non_null(strstr(all, "\"limited\":true"));
    free(all);
    client_drop(a);
    client_drop(c);
}

static void test_resume__pages_newest_first(void **state)
{
    (void)state;
    char since[64];
    struct client *a = ws_live(rig, 0, &ann, NULL);
    for (int i = 0; i < 60; i++) {
        struct account who;
        char name[20];
        snprintf(name, sizeof(name), "u%d", i);
        account_make(rig, name, &who);
        send_some(a, name, i, 1, NULL);
        rig_pass(rig, 5);
    }
    struct client *other = ws_open(rig, 0, ann.token);
    char *all = resume(other, "{\"event\":\"resume\"}", since);
    assert_int_equal(count(all, "{\"event\":\"conversations\""), 2);
    const char *last = all;
    for (int i = 59; i >= 0; i--) {
        char want[32];
        snprintf(want, sizeof(want), "\"content\":\"m%d\"", i);
        const char *at = strstr(all, want);
        assert_non_null(at);
        assert_true(at > last);
        last = at;
    }
    free(all);
    client_drop(other);
    client_drop(a);
}

static void test_resume__twice_at_once(void **state)
{
    (void)state;
    struct client *c = ws_open(rig, 0, ann.token);
    struct buf b = {0};
    static const uint8_t zero[4];
    ws_put_frame(&b, WS_TEXT, span_str("{\"event\":\"resume\"}"), zero);
    ws_put_frame(&b, WS_TEXT, span_str("{\"event\":\"resume\"}"), zero);
    client_send(c, b.data, b.len);
    buf_deinit(&b);
    assert_string_equal(json_text(ws_expect(c, "error"), "code"), "conflict");
    ws_expect(c, "caught_up");
    ws_send(c, "{\"event\":\"resume\"}");
    ws_expect(c, "caught_up");
    client_drop(c);
}

static void test_resume__added_to_a_group_after_the_token(void **state)
{
    (void)state;
    char since[64];
    char group[64];
    char path[160];
    char *body = NULL;
    struct client *h = client_new(rig, 0);
    assert_int_equal(http(h, "POST", "/api/v1/groups", ann.token, "{\"name\":\"g\"}", &body), 201);
    snprintf(group, sizeof(group), "%s", json_text(body, "group_id"));
    free(body);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof(path),
                 "{\"groupId\":\"%s\",\"content\":\"old%d\",\"client_msg_id\":\"%d\"}", group, i,
                 i);
        assert_int_equal(http(h, "POST", "/api/v1/messages", ann.token, path, NULL), 201);
    }
    rig_pass(rig, 100);
    struct client *b = ws_live(rig, 0, &bob, since);
    client_drop(b);
    rig_pass(rig, 100);
    char json[80];
    snprintf(path, sizeof(path), "/api/v1/groups/%s/members", group);
    snprintf(json, sizeof(json), "{\"user_id\":\"%s\"}", bob.user);
    assert_int_equal(http(h, "POST", path, ann.token, json, NULL), 200);
    rig_pass(rig, 3000);
    b = ws_open(rig, 0, bob.token);
    char *all = resume_since(b, since, since);
    assert_non_null(strstr(all, group));
    assert_int_equal(count(all, "\"event\":\"new_message\""), 3);
    assert_non_null(strstr(all, "\"action\":\"add\""));
    free(all);
    client_drop(b);
    client_drop(h);
}

static void test_resume__session_gone_meanwhile(void **state)
{
    (void)state;
    struct shard_stats st;
    struct client *c = ws_open(rig, 0, ann.token);
    static const uint8_t zero[4];
    struct buf b = {0};
    size_t n;
    ws_put_frame(&b, WS_TEXT, span_str("{\"event\":\"resume\"}"), zero);
    assert_int_equal(net_sim_send(c->conn, b.data, b.len, &n), CONFAB_OK);
    net_sim_reset(c->conn);
    buf_deinit(&b);
    client_drop(c);
    shard_stats(rig->shards[0], &st);
    assert_int_equal(st.resumes, 0);
    assert_int_equal(st.sessions, 0);
}

static void one_at_a_time(struct shard_config *cfg)
{
    cfg->resumes_max = 1;
    cfg->resume_page = 1;
    cfg->queue_bytes_max = 8192;
}

/* Groups of the two, each with more than a page holds. */
static void fill_groups(struct rig *r, const struct account *from, const struct account *with,
                        int groups, size_t bytes)
{
    char text[12001];
    char json[12300];
    struct client *h = client_new(r, 0);
    assert_true(bytes < sizeof(text));
    memset(text, 'x', bytes);
    text[bytes] = 0;
    for (int g = 0; g < groups; g++) {
        char group[40];
        char *body = NULL;
        snprintf(json, sizeof(json), "{\"name\":\"g\",\"members\":[\"%s\"]}", with->name);
        assert_int_equal(http(h, "POST", "/api/v1/groups", from->token, json, &body), 201);
        snprintf(group, sizeof(group), "%s", json_text(body, "group_id"));
        free(body);
        for (int i = 0; i < 4; i++) {
            snprintf(json, sizeof(json), "{\"groupId\":\"%s\",\"content\":\"%s\"}", group, text);
            assert_int_equal(http(h, "POST", "/api/v1/messages", from->token, json, NULL), 201);
        }
    }
    client_drop(h);
    rig_pass(r, 3000);
}

static void test_resume__who_reads_nothing_keeps_no_place(void **state)
{
    (void)state;
    struct shard_stats st;
    struct account from, mute;
    struct rig *small = rig_new(1, one_at_a_time);
    account_make(small, "from", &from);
    account_make(small, "mute", &mute);
    fill_groups(small, &from, &mute, 3, 12000);
    struct client *m = ws_open(small, 0, mute.token);
    ws_send(m, "{\"event\":\"resume\"}");
    rig_settle(small);
    shard_stats(small->shards[0], &st);
    assert_int_equal(st.resumes, 1);
    client_drop(ws_live(small, 0, &from, NULL)); /* nobody waits for it */
    assert_int_equal(rig_total(small, METRIC_SLOW_CONSUMERS), 0);
    rig_pass(small, 4000);
    struct client *other = ws_open(small, 0, mute.token);
    ws_send(other, "{\"event\":\"resume\"}");
    rig_pass(small, 1000);
    /* One too many of those that do not read: the first is given up. */
    assert_int_equal(rig_total(small, METRIC_SLOW_CONSUMERS), 1);
    client_drop(other);
    ws_expect(m, "resync");
    ws_send(m, "{\"event\":\"resume\"}");
    rig_settle(small);
    for (int i = 0; i < 4; i++) {
        rig_pass(small, 10000);
        ws_send(m, "{\"event\":\"heartbeat\"}"); /* it lives */
    }
    /* Its frames are not lost: it is told to ask again, once it reads. */
    assert_int_equal(rig_total(small, METRIC_SLOW_CONSUMERS), 2);
    ws_expect(m, "resync");
    shard_stats(small->shards[0], &st);
    assert_int_equal(st.resumes, 0);
    client_drop(m);
    rig_free(small);
}

/* A page waits until the one before it is written; then nothing else wakes the shard for it. */
static void test_resume__a_page_follows_at_once(void **state)
{
    (void)state;
    static const uint8_t zero[4];
    struct account from, with;
    struct buf b = {0};
    size_t n;
    struct rig *small = rig_new(1, one_at_a_time);
    account_make(small, "from", &from);
    account_make(small, "with", &with);
    fill_groups(small, &from, &with, 8, 1000);
    struct client *c = ws_open(small, 0, with.token);
    ws_put_frame(&b, WS_TEXT, span_str("{\"event\":\"resume\"}"), zero);
    assert_int_equal(net_sim_send(c->conn, b.data, b.len, &n), CONFAB_OK);
    buf_clear(&b);
    do {
        n = shard_turn(small->shards[0], 0);
    } while (n == 0 || net_sim_is_ready(small->net, 0));
    assert_true(buf_reserve(&b, 65536));
    assert_int_equal(net_sim_recv(c->conn, b.data, b.cap, &b.len), CONFAB_OK);
    for (size_t i = 0; i < b.len; i++) {
        b.data[i] = b.data[i] ? b.data[i] : ' '; /* of a frame's head */
    }
    buf_put_u8(&b, 0);
    assert_int_equal(count((const char *)b.data, "{\"event\":\"conversations\""), 9);
    assert_non_null(strstr((const char *)b.data, "\"caught_up\""));
    buf_deinit(&b);
    client_drop(c);
    rig_free(small);
}

static void little_memory(struct shard_config *cfg)
{
    cfg->output_bytes_max = 131072;
    cfg->queue_bytes_max = 1048576;
    cfg->resume_page = 1;
}

/* Their pages together are more than the memory for output: they wait, and nobody is told to pull.
 */
static void test_resume__many_at_once_leave_room(void **state)
{
    (void)state;
    enum { N = 8 };
    struct account from, with;
    struct client *c[N];
    struct rig *small = rig_new(1, little_memory);
    account_make(small, "from", &from);
    account_make(small, "with", &with);
    fill_groups(small, &from, &with, 40, 3000);
    for (int i = 0; i < N; i++) {
        c[i] = ws_open(small, 0, with.token);
        ws_send(c[i], "{\"event\":\"resume\"}");
    }
    rig_settle(small);
    int done = 0;
    uint64_t most = small->shards[0]->output_memory;
    for (int round = 0; done < N && round < 200; round++) {
        done = 0;
        for (int i = 0; i < N; i++) {
            client_recv(c[i]);
            done += memmem(c[i]->in.data, c[i]->in.len, "caught_up", 9) != NULL;
        }
        rig_settle(small);
        most = MAX(most, small->shards[0]->output_memory);
    }
    assert_int_equal(done, N);
    assert_int_equal(rig_total(small, METRIC_BOUND_OUTPUT_MEMORY), 0);
    assert_int_equal(rig_total(small, METRIC_SLOW_CONSUMERS), 0);
    assert_in_range(most, 65536, 131072); /* there was more than could go at once */
    for (int i = 0; i < N; i++) {
        client_drop(c[i]);
    }
    rig_free(small);
}

/* What a poll was answered is kept until the next one, so it counts as well. */
static void test_resume__many_polls_leave_room(void **state)
{
    (void)state;
    enum { N = 4 };
    struct account from, with;
    char path[N][64];
    char query[640];
    unsigned long long after[N] = {0};
    bool caught_up[N] = {false};
    int done = 0;
    struct rig *small = rig_new(1, little_memory);
    account_make(small, "from", &from);
    account_make(small, "with", &with);
    fill_groups(small, &from, &with, 20, 3000);
    struct client *c = client_new(small, 0);
    small->shards[0]->cfg.output_bytes_max = 65536;
    for (int i = 0; i < N; i++) {
        char *body = NULL;
        assert_int_equal(
            http(c, "POST", "/api/v1/events", with.token, "{\"mode\":\"poll\"}", &body), 201);
        snprintf(path[i], sizeof(path[i]), "/api/v1/events/%.40s", json_text(body, "session_id"));
        free(body);
    }
    for (int i = 0; i < N; i++) {
        assert_int_equal(http(c, "POST", path[i], with.token, "{\"event\":\"resume\"}", NULL), 202);
    }
    for (int round = 0; done < N && round < 200; round++) {
        for (int i = 0; i < N; i++) {
            char *body = NULL;
            snprintf(query, sizeof(query), "%s?after=%llu&wait=0", path[i], after[i]);
            assert_int_equal(http(c, "GET", query, with.token, NULL, &body), 200);
            const char *last = strstr(body, "\"last\":");
            after[i] = last ? strtoull(last + 7, NULL, 10) : after[i];
            done += !caught_up[i] && strstr(body, "\"caught_up\"") != NULL;
            caught_up[i] = caught_up[i] || strstr(body, "\"caught_up\"");
            free(body);
        }
    }
    assert_int_equal(done, N);
    assert_int_equal(rig_total(small, METRIC_BOUND_OUTPUT_MEMORY), 0);
    assert_int_equal(rig_total(small, METRIC_SLOW_CONSUMERS), 0);
    client_drop(c);
    rig_free(small);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_resume__##name, setup, teardown)
#define T4(name)                                                                                   \
    {                                                                                              \
        "test_resume__" #name "_four_shards", test_resume__##name, setup_four, teardown, NULL      \
    }
    const struct CMUnitTest tests[] = {
        T(first_has_everything),
        T4(first_has_everything),
        T(brings_only_what_was_missed),
        T4(brings_only_what_was_missed),
        T(bad_token_is_none),
        T(token_text),
        T(have_beyond_the_token),
        T(an_own_log_that_is_gone),
        T(a_token_of_a_lost_time),
        T(limited_when_much_is_missing),
        T(however_long_one_was_away),
        T(large_events_are_trimmed),
        T(pages_newest_first),
        T(a_page_follows_at_once),
        T(many_at_once_leave_room),
        T(many_polls_leave_room),
        T4(pages_newest_first),
        T(twice_at_once),
        T(added_to_a_group_after_the_token),
        T4(added_to_a_group_after_the_token),
        T(session_gone_meanwhile),
        T(who_reads_nothing_keeps_no_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
