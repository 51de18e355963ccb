#include "check.h"

#include <stdlib.h>

#include "adapters/mem/executor_inline.h"
#include "adapters/mem/log_mem.h"
#include "base/check.h"
#include "model.h"
#include "process.h"
#include "users.h"

#define ULL(x) ((unsigned long long)(x))

/* ---- quiet ------------------------------------------------------------------------------- */

/* Lists are what memberships say. */
static void check_followups(struct sim *s)
{
    for (uint32_t i = 0; i < s->model->nconvs; i++) {
        const struct mconv *c = s->model->convs[i];
        for (uint32_t k = 0; k < c->nmembers && c->kind != CONV_SELF; k++) {
            const struct mmember *mm = &c->members[k];
            const struct mconv *self = model_conv(s->model, conv_id_self(mm->user));
            const struct mentry *e = self ? mconv_entry(self, c->id) : NULL;
            SIM_CHECK(s, e && e->joined == (mm->role != ROLE_NONE) && e->kind == c->kind,
                      "follow-ups arrive", CONV_FMT " user %llu: %s", CONV_ARG(c->id),
                      ULL(mm->user), e ? "the list differs" : "not in the list");
        }
    }
}

/* The directory has what was flushed, which may be less; nothing that is not true. */
static void on_listed(struct dir_request *req)
{
    *(bool *)req->arg = true;
}

static void check_directory(struct sim *s, uint64_t user)
{
    bool done = false;
    struct dir_request req = {.op = DIR_CONVERSATIONS_LIST,
                              .done = on_listed,
                              .arg = &done,
                              .user_id = user,
                              .limit = 1000};
    CHECK(directory_submit(s->ports->dir.inner, &req) == CONFAB_OK && done);
    const struct mconv *self = model_conv(s->model, conv_id_self(user));
    for (uint32_t i = 0; i < req.nconv_rows; i++) {
        const struct dir_conv_row *row = &req.conv_rows[i];
        const struct mentry *e = self ? mconv_entry(self, row->conv) : NULL;
        SIM_CHECK(s, e && e->kind == row->conv_kind, "the directory follows the lists",
                  CONV_FMT " user %llu", CONV_ARG(row->conv), ULL(user));
        SIM_CHECK(s, e->since_ms != row->since_ms || e->joined == row->joined,
                  "the directory follows the lists", CONV_FMT " user %llu", CONV_ARG(row->conv),
                  ULL(user));
    }
    dir_request_deinit(&req);
}

static void submit(struct sim *s, struct command *cmd)
{
    process_request(s->process, uop_of(cmd)->user, cmd);
}

/* Pages through all that one user may see, downwards, in pages of one size. */
static void check_paging(struct sim *s, struct mconv *c, uint32_t user)
{
    const struct mmember *mm = mconv_member(c, s->users->ids[user]);
    uint64_t to = mmember_last(c, mm);
    uint32_t limit = (uint32_t)(1 + sim_below(s, 60));
    while (to >= mmember_first(mm)) {
        struct command *cmd = users_command(s, user, COMMAND_HISTORY);
        cmd->conv = c->id;
        cmd->to_seq = to;
        cmd->limit = limit;
        cmd->reverse = true;
        submit(s, cmd);
        process_quiesce(s);
        /* Each full page is checked where it is answered. */
        to = to > limit ? to - limit : 0;
        if (limit * 12U < to) {
            limit = 200;
        }
    }
}

static void read_a_lot(struct sim *s)
{
    struct users *u = s->users;
    for (uint32_t i = 0; i < u->n; i++) {
        device_resume(s, i);
        struct command *cmd = users_command(s, i, COMMAND_LIST);
        cmd->conv = conv_id_self(u->ids[i]);
        submit(s, cmd);
    }
    process_quiesce(s);
    for (uint32_t i = 0; i < s->model->nconvs; i++) {
        struct mconv *c = s->model->convs[i];
        for (uint32_t k = 0; k < c->nmembers; k++) {
            if (c->nmembers > 4 && !sim_one_in(s, 4)) {
                continue;
            }
            uint32_t user = users_index(u, c->members[k].user);
            struct command *cmd = users_command(s, user, COMMAND_HISTORY);
            cmd->conv = c->id;
            cmd->reverse = sim_one_in(s, 2);
            cmd->limit = 200;
            cmd->to_seq = cmd->reverse && sim_one_in(s, 2) ? 1 + sim_below(s, c->head) : 0;
            cmd->from_seq = !cmd->reverse && sim_one_in(s, 2) ? 1 + sim_below(s, c->head) : 0;
            submit(s, cmd);
            cmd = users_command(s, user, COMMAND_MEMBERS);
            cmd->conv = c->id;
            submit(s, cmd);
        }
        process_quiesce_some(s);
    }
    process_quiesce(s);
}

void check_quiet(struct sim *s)
{
    struct users *u = s->users;
    /* Everybody gets an answer in the end, and it is the first one. */
    for (int i = 0; u->nagain > 0; i++) {
        SIM_CHECK(s, i < 10000, "retries get an answer", "%u are left", u->nagain);
        users_retry_all(s);
        process_quiesce(s);
    }
    model_quiet(s->model);
    check_followups(s);
    for (uint32_t i = 0; i < u->n; i++) {
        check_directory(s, u->ids[i]);
    }
    users_probe(s);
    process_quiesce(s);
    read_a_lot(s);
    if (s->model->nconvs > 0) {
        struct mconv *c = s->model->convs[sim_below(s, s->model->nconvs)];
        if (c->nmembers > 0) {
            uint64_t user = c->members[sim_below(s, c->nmembers)].user;
            check_paging(s, c, users_index(u, user));
        }
    }
}

/* ---- recovered state --------------------------------------------------------------------- */

/* A set of engines that takes nothing but what it recovers. */
struct refold {
    struct engine_host host;
    struct engine_shared shared;
    struct sim *sim;
    uint16_t shards;
    struct engine *engines[SIM_SHARDS_MAX];
    struct metrics metrics;
    struct executor *ex;
    struct message_store *store;
    struct log_mem *log;
    uint32_t done;
};

static void refold_complete(struct engine_host *host, struct command *cmd)
{
    CONTAINER_OF(host, struct refold, host)->done++;
    command_free(cmd);
}
static void refold_publish(struct engine_host *host, const struct publication *pub)
{
    (void)pub;
    sim_fail(CONTAINER_OF(host, struct refold, host)->sim, "recovery publishes nothing", " ");
}
static void refold_receipt(struct engine_host *host, const struct receipt *receipt)
{
    (void)receipt;
    sim_fail(CONTAINER_OF(host, struct refold, host)->sim, "recovery publishes nothing", " ");
}
static enum confab_err refold_send(struct engine_host *host, struct command *cmd)
{
    (void)host;
    (void)cmd;
    return CONFAB_BUSY;
}
static void refold_wake(struct engine_host *host)
{
    (void)host;
}
static const struct engine_host_ops REFOLD_OPS = {refold_complete, refold_publish, refold_receipt,
                                                  refold_send, refold_wake};

static enum confab_err refold_record(void *arg, const struct log_record *rec)
{
    struct refold *r = arg;
    return engine_recover_record(r->engines[engine_shard_of(rec->partition, r->shards)], rec);
}

/* Memory of its own: a run that fails in between leaves it behind, registered. */
static struct refold *refold_open(struct sim *s, uint16_t shards)
{
    struct refold *r = calloc(1, sizeof(*r));
    CHECK(r);
    r->host.ops = &REFOLD_OPS;
    r->sim = s;
    r->shards = shards;
    metrics_register(&r->metrics, r);
    CHECK(executor_inline_open(false, 1 << 20, &r->ex) == CONFAB_OK);
    struct log_mem_config cfg = {.lanes = shards};
    CHECK(log_mem_new(&cfg, &r->log) == CONFAB_OK);
    return r;
}

static void refold_begin(struct refold *r)
{
    for (uint16_t i = 0; i < r->shards; i++) {
        struct engine_config cfg;
        engine_config_defaults(&cfg);
        cfg.shard = i;
        cfg.shards = r->shards;
        cfg.cache_bytes_max = SIZE_MAX / 2;
        cfg.dirty_bytes_max = SIZE_MAX / 4;
        cfg.flush_after_ms = UINT32_MAX;
        CHECK(engine_new(&cfg, &r->host, &r->shared, log_mem_store(r->log), r->store, NULL,
                         &r->sim->clock.base, &r->metrics, &r->engines[i]) == CONFAB_OK);
        CHECK(engine_recover_begin(r->engines[i]) == CONFAB_OK);
    }
}

struct state {
    struct conv_id id;
    struct span bytes;
};

static int by_id(const void *a, const void *b)
{
    return conv_id_cmp(((const struct state *)a)->id, ((const struct state *)b)->id);
}

/* Ends recovery, loads everything and writes down the state of every conversation. */
static void refold_dump(struct refold *r, struct buf *out)
{
    struct sim *s = r->sim;
    for (uint16_t i = 0; i < r->shards; i++) {
        enum confab_err err = engine_recover_end(r->engines[i]);
        SIM_CHECK(s, !err, "recovery reads what is there", "%s", err_text(err));
    }
    for (uint32_t i = 0; i < s->model->nconvs; i++) {
        struct command *cmd = command_new(COMMAND_MEMBERS);
        CHECK(cmd);
        cmd->conv = s->model->convs[i]->id;
        engine_submit(r->engines[engine_shard_of(command_partition(cmd), r->shards)], cmd);
    }
    struct buf raw = {0};
    for (uint16_t i = 0; i < r->shards; i++) {
        for (int k = 0; k < 10000 && (!engine_is_recovered(r->engines[i]) || k < 3); k++) {
            engine_poll(r->engines[i]);
            (void)engine_tick(r->engines[i]);
        }
        enum confab_err err = engine_health(r->engines[i]);
        SIM_CHECK(s, engine_is_recovered(r->engines[i]) && !err, "recovery ends", "%s",
                  err_text(err));
        engine_dump_state(r->engines[i], &raw);
    }
    SIM_CHECK(s, r->done == s->model->nconvs, "recovery ends", "%u loads of %u", r->done,
              s->model->nconvs);
    struct state *list = calloc(raw.len / 16 + 1, sizeof(*list));
    CHECK(list);
    size_t n = 0;
    struct reader rd = reader_of(raw.data, raw.len);
    while (reader_left(&rd) > 0 && !rd.bad) {
        list[n].id = conv_id_read(reader_bytes(&rd, 16).p);
        list[n++].bytes = reader_blob(&rd);
    }
    qsort(list, n, sizeof(*list), by_id);
    for (size_t i = 0; i < n; i++) {
        uint8_t id[16];
        conv_id_write(list[i].id, id);
        buf_put(out, id, sizeof(id));
        buf_put_blob(out, list[i].bytes.p, list[i].bytes.n);
    }
    free(list);
    buf_deinit(&raw);
}

static void refold_close(struct refold *r)
{
    for (uint16_t i = 0; i < r->shards; i++) {
        engine_free(r->engines[i]);
    }
    store_mem_close(r->store);
    log_mem_free(r->log);
    executor_inline_close(r->ex);
    metrics_unregister(&r->metrics);
    free(r);
}

/* From the files as they are now. */
static void dump_files(struct sim *s, uint16_t shards, struct buf *out)
{
    struct refold *r = refold_open(s, shards);
    struct disk_sim *copy;
    struct local_log *log;
    uint64_t from_lsn = 0;
    CHECK(disk_sim_clone(s->ports->disk, &copy) == CONFAB_OK);
    CHECK(store_mem_clone(s->ports->store.inner, r->ex, &r->store) == CONFAB_OK);
    CHECK(checkpoint_load(disk_sim_disk(copy), &from_lsn) == CONFAB_OK);
    struct random_seeded ids;
    random_seeded_init(&ids, s->options.seed + s->step);
    struct local_log_config cfg = {.segment_bytes = s->features.segment_bytes,
                                   .lanes = 1,
                                   .verify_from = from_lsn,
                                   .random = &ids.base};
    enum confab_err err = local_log_open(&cfg, disk_sim_disk(copy), &s->clock.base, &log);
    SIM_CHECK(s, !err, "the log can be opened", "copy: %s", err_text(err));
    refold_begin(r);
    err = log_store_read(local_log_store(log), from_lsn, refold_record, r);
    SIM_CHECK(s, !err, "recovery reads what is there", "copy: %s", err_text(err));
    refold_dump(r, out);
    refold_close(r);
    disk_sim_halt_after(copy, 0);
    local_log_close(log);
    disk_sim_free(copy);
}

/* From the journal, into an empty store. */
static void dump_journal(struct sim *s, struct buf *out)
{
    struct refold *r = refold_open(s, 1);
    struct store_mem_cfg cfg = {.crashable = false};
    CHECK(store_mem_open(cfg, r->ex, &r->store) == CONFAB_OK);
    refold_begin(r);
    for (size_t i = 0; i < s->ports->journal.count; i++) {
        const struct journal_record *j = &s->ports->journal.at[i];
        struct log_record rec = {.lsn = j->lsn,
                                 .partition = j->partition,
                                 .kind = j->kind,
                                 .version = j->version,
                                 .data = span_of(j->bytes, j->len)};
        CHECK(refold_record(r, &rec) == CONFAB_OK);
    }
    refold_dump(r, out);
    refold_close(r);
}

static void compare(struct sim *s, const struct buf *a, const struct buf *b, const char *what)
{
    struct reader ra = reader_of(a->data, a->len);
    struct reader rb = reader_of(b->data, b->len);
    while (reader_left(&ra) > 0 && reader_left(&rb) > 0) {
        struct conv_id x = conv_id_read(reader_bytes(&ra, 16).p);
        struct conv_id y = conv_id_read(reader_bytes(&rb, 16).p);
        struct span p = reader_blob(&ra);
        struct span q = reader_blob(&rb);
        size_t at = 0;
        while (at < MIN(p.n, q.n) && p.p[at] == q.p[at]) {
            at++;
        }
        SIM_CHECK(s, conv_id_eq(x, y) && span_eq(p, q), "recovered state is the folded one",
                  "%s: " CONV_FMT " and " CONV_FMT ", %zu and %zu bytes, differ at %zu", what,
                  CONV_ARG(x), CONV_ARG(y), p.n, q.n, at);
    }
    SIM_CHECK(s, reader_left(&ra) == reader_left(&rb), "recovered state is the folded one",
              "%s: one has more conversations", what);
}

void check_recovered(struct sim *s)
{
    struct buf one = {0};
    struct buf many = {0};
    struct buf all = {0};
    s->result.counts.dumps++;
    dump_files(s, 1, &one);
    dump_files(s, (uint16_t)sim_between(s, 2, SIM_SHARDS_MAX), &many);
    dump_journal(s, &all);
    compare(s, &one, &all, "one shard and the whole log");
    compare(s, &many, &all, "shards and the whole log");
    buf_deinit(&one);
    buf_deinit(&many);
    buf_deinit(&all);
}
