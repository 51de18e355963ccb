#include "ports.h"

#include <stdio.h>
#include <stdlib.h>

#include "adapters/mem/directory_mem.h"
#include "adapters/mem/executor_inline.h"
#include "base/check.h"
#include "model.h"

/* A request on its way: first it is executed, then, at another time, answered. */
struct pending {
    struct list link;
    struct store_request *req;
    void (*done)(struct store_request *req);
    void *arg;
    bool executed;
};
struct dir_pending {
    struct list link;
    struct dir_request *req;
    void (*done)(struct dir_request *req);
    void *arg;
    bool executed;
};
struct flight {
    struct list link;
    struct log_submission *sub;
};

static void *sim_alloc(size_t n)
{
    void *p = calloc(1, n);
    CHECK(p);
    return p;
}

/* ---- store ------------------------------------------------------------------------------- */

static struct sim_store *store_of(struct message_store *store)
{
    return CONTAINER_OF(store, struct sim_store, base);
}

static void store_executed(struct store_request *req)
{
    struct pending *p = req->arg;
    p->executed = true;
}

static void without_dedup_rows(struct store_request *req)
{
    struct buf out = {0};
    struct reader r = reader_of(req->batch.data, req->batch.len);
    struct store_batch_item item;
    while (store_batch_next(&r, &item) == CONFAB_OK) {
        if (item.op == STORE_BATCH_PUT && item.key.table != STORE_DEDUP) {
            store_batch_put(&out, item.key, item.value);
        } else if (item.op == STORE_BATCH_DEL) {
            store_batch_del(&out, item.key);
        } else if (item.op == STORE_BATCH_DEL_RANGE) {
            store_batch_del_range(&out, item.key.table, item.key.key, item.key.sort, item.value);
        }
    }
    buf_deinit(&req->batch);
    req->batch = out;
}

static void trace_write(struct sim *s, const struct store_request *req, bool fail)
{
    struct reader r = reader_of(req->batch.data, req->batch.len);
    struct store_batch_item item;
    while (s->options.verbose && store_batch_next(&r, &item) == CONFAB_OK) {
        bool chunk = item.key.table == STORE_CHUNK;
        struct conv_id id = {0, 0};
        if (item.key.key.n == 16) {
            id = conv_id_read(item.key.key.p);
        }
        printf("         store op %d table %d conv " CONV_FMT " seq %u%s\n", (int)item.op,
               (int)item.key.table, CONV_ARG(id),
               chunk ? item.key.sort.p[7] + 256U * item.key.sort.p[6] : 0, fail ? " fails" : "");
    }
}

static void store_execute(struct sim_store *st, struct pending *p)
{
    struct sim *s = st->sim;
    struct store_request *req = p->req;
    bool write = req->op == STORE_WRITE;
    bool fail = st->failing && sim_one_in(s, 6);
    if (write) {
        trace_write(s, req, fail);
    }
    if (fail) {
        req->ret_err = CONFAB_IO;
        p->executed = true;
        return;
    }
    if (write) {
        if (s->options.bug == BUG_LOST_BATCH && sim_one_in(s, 8)) {
            buf_clear(&req->batch);
        } else if (s->options.bug == BUG_NO_DEDUP_ROWS) {
            without_dedup_rows(req);
        }
    }
    if (req->op == STORE_FLUSH && s->options.bug == BUG_NO_FLUSH) {
        req->ret_err = CONFAB_OK;
        p->executed = true;
        return;
    }
    req->done = store_executed;
    req->arg = p;
    CHECK(message_store_submit(st->inner, req) == CONFAB_OK);
    CHECK(p->executed);
}

static void store_answer(struct sim_store *st, struct pending *p)
{
    struct store_request *req = p->req;
    list_remove(&p->link);
    st->npending--;
    req->done = p->done;
    req->arg = p->arg;
    free(p);
    req->done(req);
}

static enum confab_err store_submit(struct message_store *store, struct store_request *req)
{
    struct sim_store *st = store_of(store);
    if (st->dead) {
        return CONFAB_CLOSED;
    }
    if (!st->direct && st->npending >= st->sim->features.store_queue) {
        return CONFAB_BUSY;
    }
    struct pending *p = sim_alloc(sizeof(*p));
    p->req = req;
    p->done = req->done;
    p->arg = req->arg;
    list_push_back(&st->pending, &p->link);
    st->npending++;
    if (st->direct) {
        store_execute(st, p);
        store_answer(st, p);
    }
    return CONFAB_OK;
}

static void store_stats(struct message_store *store, struct store_stats *ret)
{
    message_store_stats(store_of(store)->inner, ret);
}

static const struct message_store_ops STORE_OPS = {"sim", 1, store_submit, store_stats};

bool ports_step_store(struct ports *p)
{
    struct sim_store *st = &p->store;
    if (st->npending == 0) {
        return false;
    }
    uint64_t n = sim_below(st->sim, st->npending);
    struct list *it = st->pending.next;
    while (n-- > 0) {
        it = it->next;
    }
    struct pending *req = LIST_ENTRY(it, struct pending, link);
    if (!req->executed) {
        store_execute(st, req);
        if (sim_one_in(st->sim, 3)) {
            return true;
        }
    }
    store_answer(st, req);
    return true;
}

/* ---- directory --------------------------------------------------------------------------- */

static void dir_executed(struct dir_request *req)
{
    struct dir_pending *p = req->arg;
    p->executed = true;
}

static enum confab_err dir_submit(struct directory *dir, struct dir_request *req)
{
    struct sim_dir *d = CONTAINER_OF(dir, struct sim_dir, base);
    if (d->dead) {
        return CONFAB_CLOSED;
    }
    if (d->npending >= d->sim->features.store_queue) {
        return CONFAB_BUSY;
    }
    struct dir_pending *p = sim_alloc(sizeof(*p));
    p->req = req;
    p->done = req->done;
    p->arg = req->arg;
    list_push_back(&d->pending, &p->link);
    d->npending++;
    return CONFAB_OK;
}

static const struct directory_ops DIR_OPS = {"sim", 1, dir_submit};

static void dir_answer(struct sim_dir *d, struct dir_pending *p)
{
    struct dir_request *req = p->req;
    list_remove(&p->link);
    d->npending--;
    req->done = p->done;
    req->arg = p->arg;
    free(p);
    req->done(req);
}

/* BUG_EARLY_LEFT: the first of those that are to leave is called gone, and nobody is told of it. */
static void leave_early(struct sim_dir *d, struct dir_request *req)
{
    if (d->sim->options.bug != BUG_EARLY_LEFT || req->op != DIR_ACCOUNTS_LEAVING ||
        req->ret_nids == 0) {
        return;
    }
    struct dir_request *left = sim_alloc(sizeof(*left));
    struct dir_pending done = {.executed = false};
    left->op = DIR_ACCOUNT_LEFT;
    left->user_id = req->ret_ids[0];
    left->done = dir_executed;
    left->arg = &done;
    CHECK(directory_submit(d->inner, left) == CONFAB_OK && done.executed);
    dir_request_deinit(left);
    free(left);
    req->ret_nids--;
    memmove(req->ret_ids, req->ret_ids + 1, req->ret_nids * sizeof(*req->ret_ids));
}

bool ports_step_dir(struct ports *p)
{
    struct sim_dir *d = &p->dir;
    if (d->npending == 0) {
        return false;
    }
    struct dir_pending *req = LIST_ENTRY(d->pending.next, struct dir_pending, link);
    if (!req->executed) {
        req->req->done = dir_executed;
        req->req->arg = req;
        CHECK(directory_submit(d->inner, req->req) == CONFAB_OK);
        CHECK(req->executed);
        leave_early(d, req->req);
        if (sim_one_in(d->sim, 3)) {
            return true;
        }
    }
    dir_answer(d, req);
    return true;
}

/* ---- journal and log --------------------------------------------------------------------- */

static void journal_add(struct journal *j, const struct log_record *rec)
{
    if (j->count == j->cap) {
        j->cap = j->cap ? j->cap * 2 : 1024;
        j->at = realloc(j->at, j->cap * sizeof(*j->at));
        CHECK(j->at);
    }
    size_t i = j->count++;
    while (i > 0 && j->at[i - 1].lsn > rec->lsn) {
        j->at[i] = j->at[i - 1];
        i--;
    }
    struct journal_record *r = &j->at[i];
    *r = (struct journal_record){.lsn = rec->lsn,
                                 .partition = rec->partition,
                                 .kind = rec->kind,
                                 .version = rec->version,
                                 .bytes = sim_alloc(rec->data.n + 1),
                                 .len = (uint32_t)rec->data.n};
    memcpy(r->bytes, rec->data.p, rec->data.n);
}

/* First record with that LSN or a higher one. */
static size_t journal_place(const struct journal *j, uint64_t lsn)
{
    size_t lo = 0;
    size_t hi = j->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (j->at[mid].lsn < lsn) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static struct sim_log *log_of(struct log_store *log)
{
    return CONTAINER_OF(log, struct sim_log, base);
}

static enum confab_err log_submit(struct log_store *log, struct log_submission *sub)
{
    struct sim_log *l = log_of(log);
    if (l->dead) {
        return CONFAB_IO;
    }
    enum confab_err err = log_store_submit(l->inner, sub);
    if (!err) {
        struct flight *f = sim_alloc(sizeof(*f));
        f->sub = sub;
        list_push_back(&l->lanes[sub->lane], &f->link);
    }
    return err;
}

static struct log_submission *log_poll(struct log_store *log, uint16_t lane)
{
    struct sim_log *l = log_of(log);
    struct sim *s = l->sim;
    struct log_submission *sub = l->dead ? NULL : log_store_poll(l->inner, lane);
    if (!sub && (!l->dead || list_is_empty(&l->lanes[lane]))) {
        return NULL;
    }
    SIM_CHECK(s, !list_is_empty(&l->lanes[lane]), "log returns what it got", "lane %u", lane);
    struct flight *f = LIST_ENTRY(list_pop_front(&l->lanes[lane]), struct flight, link);
    if (l->dead) {
        sub = f->sub;
        sub->ret_err = CONFAB_IO;
    }
    SIM_CHECK(s, sub == f->sub, "submissions return in order", "lane %u", lane);
    free(f);
    size_t offset = 0;
    struct log_record rec;
    struct span bytes = span_of(sub->bytes.data, sub->bytes.len);
    while (!sub->ret_err && !log_record_next(bytes, &offset, sub->ret_lsn, &rec)) {
        journal_add(&s->ports->journal, &rec);
        model_durable(s->model, &rec);
    }
    return sub;
}

static void log_set_wake(struct log_store *log, uint16_t lane, void (*wake)(void *arg), void *arg)
{
    log_store_set_wake(log_of(log)->inner, lane, wake, arg);
}

/* Gives each record when the next one is there, so that the last is left out. */
struct short_read {
    enum confab_err (*on_record)(void *arg, const struct log_record *rec);
    void *arg;
    struct log_record held;
    struct buf bytes;
    bool has;
};

static enum confab_err short_record(void *arg, const struct log_record *rec)
{
    struct short_read *sr = arg;
    enum confab_err err = CONFAB_OK;
    if (sr->has) {
        sr->held.data = span_of(sr->bytes.data, sr->bytes.len);
        err = sr->on_record(sr->arg, &sr->held);
    }
    sr->held = *rec;
    sr->has = true;
    buf_clear(&sr->bytes);
    buf_put(&sr->bytes, rec->data.p, rec->data.n);
    return err;
}

/* The log's kind of record for cursors, as docs/formats/event.md has it. */
enum { RECORD_CURSORS = 2 };

static enum confab_err no_cursors(void *arg, const struct log_record *rec)
{
    const struct short_read *sr = arg;
    return rec->kind == RECORD_CURSORS ? CONFAB_OK : sr->on_record(sr->arg, rec);
}

static enum confab_err
log_read(struct log_store *log, uint64_t from,
         enum confab_err (*on_record)(void *arg, const struct log_record *rec), void *arg)
{
    struct sim_log *l = log_of(log);
    l->read_from = from;
    if (l->sim->options.bug == BUG_LOST_CURSORS) {
        struct short_read sr = {.on_record = on_record, .arg = arg};
        return log_store_read(l->inner, from, no_cursors, &sr);
    }
    if (l->sim->options.bug == BUG_SHORT_LOG) {
        struct short_read sr = {.on_record = on_record, .arg = arg};
        enum confab_err err = log_store_read(l->inner, from, short_record, &sr);
        buf_deinit(&sr.bytes);
        return err;
    }
    return log_store_read(l->inner, from, on_record, arg);
}

static enum confab_err log_trim(struct log_store *log, uint64_t lsn)
{
    struct sim_log *l = log_of(log);
    l->trimmed = MAX(l->trimmed, lsn);
    return log_store_trim(l->inner, lsn);
}

static void log_stats(struct log_store *log, struct log_stats *ret)
{
    log_store_stats(log_of(log)->inner, ret);
}

static const struct log_store_ops LOG_OPS = {"sim",        1,        log_submit, log_poll,
                                             log_set_wake, log_read, log_trim,   log_stats};

struct check_read {
    struct ports *p;
    struct journal found;
};

static enum confab_err check_record(void *arg, const struct log_record *rec)
{
    journal_add(&((struct check_read *)arg)->found, rec);
    return CONFAB_OK;
}

static void journal_deinit(struct journal *j)
{
    for (size_t i = 0; i < j->count; i++) {
        free(j->at[i].bytes);
    }
    free(j->at);
}

static bool same_record(const struct journal_record *a, const struct journal_record *b)
{
    return a->lsn == b->lsn && a->partition == b->partition && a->kind == b->kind &&
           a->version == b->version && a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

void ports_check_log(struct ports *p, void (*on_new)(void *arg, const struct journal_record *rec),
                     void *arg)
{
    struct sim *s = p->log.sim;
    struct check_read cr = {.p = p};
    enum confab_err err = log_store_read(p->log.inner, 0, check_record, &cr);
    SIM_CHECK(s, !err, "the log can be read", "%s", err_text(err));
    struct journal *j = &p->journal;
    struct journal *found = &cr.found;
    /* What trim let go. */
    size_t at = journal_place(j, found->count > 0 ? found->at[0].lsn : UINT64_MAX);
    if (at > 0) {
        SIM_CHECK(s, j->at[at - 1].lsn < p->log.trimmed, "durable records stay",
                  "lsn %llu is gone, trimmed to %llu", (unsigned long long)j->at[at - 1].lsn,
                  (unsigned long long)p->log.trimmed);
    }
    size_t known = j->count;
    for (size_t i = 0; i < found->count; i++) {
        struct journal_record *rec = &found->at[i];
        if (at < known && j->at[at].lsn == rec->lsn) {
            SIM_CHECK(s, same_record(&j->at[at], rec), "durable records stay",
                      "lsn %llu has changed", (unsigned long long)rec->lsn);
            at++;
            continue;
        }
        SIM_CHECK(s, at == known || j->at[at].lsn > rec->lsn, "durable records stay",
                  "lsn %llu is gone", (unsigned long long)j->at[at].lsn);
        struct log_record add = {.lsn = rec->lsn,
                                 .partition = rec->partition,
                                 .kind = rec->kind,
                                 .version = rec->version,
                                 .data = span_of(rec->bytes, rec->len)};
        journal_add(j, &add);
        at++;
        known++;
        on_new(arg, rec);
    }
    SIM_CHECK(s, at == j->count, "durable records stay", "lsn %llu is gone",
              (unsigned long long)j->at[at].lsn);
    journal_deinit(found);
}

/* ---- a disk that lies about sync --------------------------------------------------------- */

struct lying_file {
    struct disk_file base;
    struct disk_file *inner;
};

static struct lying_disk *lying_of(struct disk *d)
{
    return CONTAINER_OF(d, struct lying_disk, base);
}
static struct disk_file *file_of(struct disk_file *f)
{
    return CONTAINER_OF(f, struct lying_file, base)->inner;
}

static enum confab_err lying_open(struct disk *d, const char *name, int flags,
                                  struct disk_file **ret)
{
    struct disk_file *inner;
    enum confab_err err = disk_open(lying_of(d)->inner, name, flags, &inner);
    if (!err) {
        struct lying_file *f = sim_alloc(sizeof(*f));
        f->base.disk = d;
        f->inner = inner;
        *ret = &f->base;
    }
    return err;
}
static void lying_close(struct disk_file *f)
{
    if (f) {
        disk_close(file_of(f));
        free(CONTAINER_OF(f, struct lying_file, base));
    }
}
static enum confab_err lying_pread(struct disk_file *f, void *buf, size_t n, uint64_t off,
                                   size_t *ret_n)
{
    return disk_pread(file_of(f), buf, n, off, ret_n);
}
static enum confab_err lying_pwrite(struct disk_file *f, const void *buf, size_t n, uint64_t off)
{
    return disk_pwrite(file_of(f), buf, n, off);
}
static enum confab_err lying_preallocate(struct disk_file *f, uint64_t size)
{
    return disk_preallocate(file_of(f), size);
}
static enum confab_err lying_truncate(struct disk_file *f, uint64_t size)
{
    return disk_truncate(file_of(f), size);
}
static enum confab_err lying_size(struct disk_file *f, uint64_t *ret_size)
{
    return disk_size(file_of(f), ret_size);
}
static enum confab_err lying_sync(struct disk_file *f)
{
    struct lying_disk *d = lying_of(f->disk);
    /* Half of the time, and never while a run stands still. */
    if ((d->sim->process || d->sim->gate) && !d->sim->calm && sim_one_in(d->sim, 2)) {
        return disk_sim_halted(d->sim->ports->disk) ? CONFAB_CLOSED : CONFAB_OK;
    }
    return disk_sync(file_of(f));
}
static enum confab_err lying_rename(struct disk *d, const char *from, const char *to)
{
    return disk_rename(lying_of(d)->inner, from, to);
}
static enum confab_err lying_unlink(struct disk *d, const char *name)
{
    return disk_unlink(lying_of(d)->inner, name);
}
static enum confab_err lying_sync_dir(struct disk *d)
{
    return disk_sync_dir(lying_of(d)->inner);
}
static enum confab_err
lying_list(struct disk *d, enum confab_err (*on_name)(void *arg, const char *name), void *arg)
{
    return disk_list(lying_of(d)->inner, on_name, arg);
}
static enum confab_err lying_free_bytes(struct disk *d, uint64_t *ret_bytes)
{
    return disk_free_bytes(lying_of(d)->inner, ret_bytes);
}

static const struct disk_ops LYING_OPS = {.name = "lying",
                                          .version = 1,
                                          .open = lying_open,
                                          .close = lying_close,
                                          .pread = lying_pread,
                                          .pwrite = lying_pwrite,
                                          .preallocate = lying_preallocate,
                                          .truncate = lying_truncate,
                                          .size = lying_size,
                                          .sync = lying_sync,
                                          .rename = lying_rename,
                                          .unlink = lying_unlink,
                                          .sync_dir = lying_sync_dir,
                                          .list = lying_list,
                                          .free_bytes = lying_free_bytes};

struct disk *ports_disk(struct ports *p)
{
    return p->log.sim->options.bug == BUG_ACK_BEFORE_SYNC ? &p->lying.base : disk_sim_disk(p->disk);
}

/* ---- all of them ------------------------------------------------------------------------- */

struct ports *ports_new(struct sim *s)
{
    struct ports *p = sim_alloc(sizeof(*p));
    struct disk_sim_config disk = {0};
    CHECK(disk_sim_new(&disk, &p->disk) == CONFAB_OK);
    p->lying = (struct lying_disk){{&LYING_OPS}, s, disk_sim_disk(p->disk)};
    random_seeded_init(&p->segment_ids, random_u64(&s->random.base));
    CHECK(executor_inline_open(false, 1024, &p->inline_ex) == CONFAB_OK);
    CHECK(executor_inline_open(true, 64, &p->file_ex) == CONFAB_OK);
    p->store = (struct sim_store){.base = {&STORE_OPS}, .sim = s};
    list_init(&p->store.pending);
    struct store_mem_cfg cfg = {.crashable = true};
    CHECK(store_mem_open(cfg, p->inline_ex, &p->store.inner) == CONFAB_OK);
    p->dir = (struct sim_dir){.base = {&DIR_OPS}, .sim = s};
    list_init(&p->dir.pending);
    CHECK(directory_mem_open(p->inline_ex, &p->dir.inner) == CONFAB_OK);
    p->log = (struct sim_log){.base = {&LOG_OPS}, .sim = s};
    for (uint32_t i = 0; i < SIM_SHARDS_MAX; i++) {
        list_init(&p->log.lanes[i]);
    }
    return p;
}

void ports_free(struct ports *p)
{
    if (!p) {
        return;
    }
    (void)executor_inline_discard(p->file_ex);
    executor_inline_close(p->file_ex);
    disk_sim_halt_after(p->disk, 0);
    local_log_close(p->local);
    store_mem_close(p->store.inner);
    directory_mem_close(p->dir.inner);
    executor_inline_close(p->inline_ex);
    disk_sim_free(p->disk);
    journal_deinit(&p->journal);
    free(p);
}

enum confab_err ports_open_log(struct ports *p, uint16_t lanes, uint64_t from_lsn)
{
    const struct sim_features *f = &p->log.sim->features;
    struct local_log_config cfg = {
        .segment_bytes = f->segment_bytes,
        .lanes = lanes,
        .batch_bytes_max = f->batch_bytes,
        .retry_ms = 50,
        .zero_spares = true,
        .verify_from = from_lsn,
        .random = &p->segment_ids.base,
    };
    enum confab_err err = local_log_open(&cfg, ports_disk(p), &p->log.sim->clock.base, &p->local);
    if (!err) {
        p->log.inner = local_log_store(p->local);
        p->log.dead = false;
        p->store.dead = false;
        p->dir.dead = false;
    }
    return err;
}

bool ports_step_log(struct ports *p)
{
    bool did = false;
    (void)!local_log_step(p->local, &did);
    return did;
}

bool ports_step_file(struct ports *p)
{
    return executor_inline_step(p->file_ex);
}

bool ports_is_idle(const struct ports *p)
{
    return p->store.npending == 0 && p->dir.npending == 0 &&
           executor_inline_queued(p->file_ex) == 0;
}

void ports_kill(struct ports *p)
{
    disk_sim_halt_after(p->disk, 0);
    (void)executor_inline_discard(p->file_ex);
    p->log.dead = true;
    p->store.dead = true;
    p->store.direct = false;
    p->dir.dead = true;
}

bool ports_fail_all(struct ports *p)
{
    bool any = p->store.npending + p->dir.npending > 0;
    while (p->store.npending > 0) {
        struct pending *req = LIST_ENTRY(p->store.pending.next, struct pending, link);
        if (!req->executed) {
            req->req->ret_err = CONFAB_IO;
        }
        store_answer(&p->store, req);
    }
    while (p->dir.npending > 0) {
        struct dir_pending *req = LIST_ENTRY(p->dir.pending.next, struct dir_pending, link);
        req->req->ret_err = CONFAB_IO;
        dir_answer(&p->dir, req);
    }
    /* A flush that was done may have begun the rest of a checkpoint. */
    (void)executor_inline_discard(p->file_ex);
    return any;
}

void ports_lose(struct ports *p, bool power)
{
    struct sim *s = p->log.sim;
    local_log_close(p->local);
    p->local = NULL;
    p->log.inner = NULL;
    uint64_t seed = random_u64(&s->random.base);
    if (power) {
        disk_sim_crash(p->disk, seed);
    } else {
        disk_sim_kill(p->disk);
    }
    uint64_t lost = store_mem_crash(p->store.inner, seed + 1);
    sim_trace(s, "lost power=%d batches=%llu", power, (unsigned long long)lost);
}

/* ---- backups ----------------------------------------------------------------------------- */

struct ports_backup {
    struct disk_sim *disk;
    struct message_store *store;
    struct directory *dir;
    size_t journal; /* its records then */
    uint64_t trimmed;
};

struct ports_backup *ports_backup_new(struct ports *p)
{
    struct ports_backup *b = sim_alloc(sizeof(*b));
    CHECK(!p->local);
    CHECK(disk_sim_clone(p->disk, &b->disk) == CONFAB_OK);
    CHECK(store_mem_clone(p->store.inner, p->inline_ex, &b->store) == CONFAB_OK);
    CHECK(directory_mem_clone(p->dir.inner, p->inline_ex, &b->dir) == CONFAB_OK);
    b->journal = p->journal.count;
    b->trimmed = p->log.trimmed;
    return b;
}

void ports_backup_free(struct ports_backup *b)
{
    if (b) {
        disk_sim_free(b->disk);
        store_mem_close(b->store);
        directory_mem_close(b->dir);
        free(b);
    }
}

/* BUG_KEPT_EPOCHS: one file stays as it is. */
static void keep_epochs(struct disk *from, struct disk *to)
{
    struct disk_file *f = NULL;
    uint8_t bytes[16384];
    size_t n = 0;
    if (disk_open(from, "EPOCHS", DISK_READ, &f) == CONFAB_OK) {
        CHECK(disk_pread(f, bytes, sizeof(bytes), 0, &n) == CONFAB_OK);
        disk_close(f);
        CHECK(disk_replace(to, "EPOCHS.new", "EPOCHS", bytes, n) == CONFAB_OK);
    }
}

void ports_restore(struct ports *p, const struct ports_backup *b)
{
    struct disk_sim *disk = NULL;
    CHECK(!p->local && p->store.npending + p->dir.npending == 0);
    CHECK(disk_sim_clone(b->disk, &disk) == CONFAB_OK);
    if (p->log.sim->options.bug == BUG_KEPT_EPOCHS) {
        disk_sim_kill(p->disk); /* where it has halted */
        keep_epochs(disk_sim_disk(p->disk), disk_sim_disk(disk));
    }
    disk_sim_free(p->disk);
    p->disk = disk;
    p->lying.inner = disk_sim_disk(disk);
    store_mem_close(p->store.inner);
    CHECK(store_mem_clone(b->store, p->inline_ex, &p->store.inner) == CONFAB_OK);
    directory_mem_close(p->dir.inner);
    CHECK(directory_mem_clone(b->dir, p->inline_ex, &p->dir.inner) == CONFAB_OK);
    while (p->journal.count > b->journal) {
        free(p->journal.at[--p->journal.count].bytes);
    }
    p->log.trimmed = b->trimmed;
}
