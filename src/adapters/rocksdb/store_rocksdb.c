/*
 * Row keys are those of ports/store_adapter.h; table byte 0 is the adapter's own:
 *
 *     00 "format"   u32, the version of this layout; written when the store is made
 *
 * Recovery: without its own log RocksDB comes back with the table files its manifest names. A flush
 * writes memtables oldest first, each whole, and a batch is in one memtable, so what comes back is
 * a prefix of the batches, as the port promises. Files of a flush that was cut short are not in the
 * manifest and are removed when the store is opened.
 */
#include "adapters/rocksdb/store_rocksdb.h"

#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/rocksdb/rocksdb_internal.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/thread.h"
#include "ports/store_adapter.h"

enum {
    FORMAT_VERSION = 1,
    GARBAGE_BEGINS = 8, /* an eighth of what lies beside the tables: collect */
    GARBAGE_ENDS = 16,
    BUSY_BYTES = 4 << 20,
    BUSY_MS = 5000,
    BUSY_READS = 1000, /* a second, at most */
};
static const char FORMAT_KEY[] = "\0format";
enum { FORMAT_KEY_LEN = sizeof(FORMAT_KEY) - 1 };

struct store_rocksdb {
    struct message_store base;
    struct executor *readers;
    struct executor *writer;
    struct rocksdb_setup setup;
    rocksdb_t *db;
    rocksdb_readoptions_t *point; /* for single rows; shared, never changed */
    rocksdb_writeoptions_t *write;
    rocksdb_flushoptions_t *flush;
    pthread_mutex_t options_lock;
    bool collecting; /* by options_lock: merges rewrite old files of values */
    struct pace {
        uint64_t bytes; /* a second, from which on a store is busy */
        uint64_t window_ns;
        uint64_t began_ns; /* by options_lock, as what follows */
        uint64_t began_bytes;
        uint64_t began_reads;
        bool busy;
    } pace;
    atomic_uint_fast64_t reads;
    atomic_uint_fast64_t writes;
    atomic_uint_fast64_t flushes;
    atomic_uint_fast64_t errors;
    atomic_uint_fast64_t bytes_written;
};

static const struct message_store_ops OPS;

static struct store_rocksdb *rocks_of(struct message_store *store)
{
    CHECK(store->ops == &OPS);
    return CONTAINER_OF(store, struct store_rocksdb, base);
}

/* The C API reports by text only; these are the forms of Status::ToString. */
enum confab_err rocksdb_err(const char *text)
{
    if (strstr(text, "No space left on device") || strstr(text, "Disk quota exceeded") ||
        strstr(text, "space limit")) {
        return CONFAB_NO_SPACE;
    }
    if (strncmp(text, "Corruption", 10) == 0) {
        return CONFAB_CORRUPT;
    }
    if (strstr(text, "While lock file") || strstr(text, "lock hold by current process")) {
        return CONFAB_LOCKED;
    }
    return CONFAB_IO;
}

/* Turns the engine's error into ours, logs and frees it; CONFAB_OK for none. */
static enum confab_err take_err(char *text, const char *call)
{
    if (!text) {
        return CONFAB_OK;
    }
    enum confab_err err = rocksdb_err(text);
    diag_error(DIAG_STORE, "rocksdb failed | call=%s text=\"%s\"", call, text);
    rocksdb_free(text);
    return err;
}

static enum confab_err get_one(struct store_rocksdb *s, struct store_key key,
                               struct store_answer *a)
{
    uint8_t row[STORE_ROW_KEY_MAX];
    size_t n = store_row_key(key, row);
    char *text = NULL;
    rocksdb_pinnableslice_t *slice =
        rocksdb_get_pinned(s->db, s->point, (const char *)row, n, &text);
    if (text) {
        return take_err(text, "get");
    }
    struct span value = {NULL, 0};
    if (slice) {
        size_t len = 0;
        const char *p = rocksdb_pinnableslice_value(slice, &len);
        value = span_of(p, len);
    }
    enum confab_err err = store_answer_add(a, slice != NULL, (struct span){NULL, 0}, value);
    rocksdb_pinnableslice_destroy(slice);
    return err;
}

/* Scratch of one STORE_GET of several keys; one allocation. */
struct multi_get {
    char **values;
    char **errs;
    const char **keys;
    size_t *key_lens;
    size_t *value_lens;
    uint8_t *rows;
};

static void *multi_get_begin(struct multi_get *m, const struct store_request *req)
{
    size_t n = req->nkeys;
    uint8_t *p = calloc(n, 3 * sizeof(char *) + 2 * sizeof(size_t) + STORE_ROW_KEY_MAX);
    if (!p) {
        return NULL;
    }
    m->values = (char **)(void *)p;
    m->errs = m->values + n;
    m->keys = (const char **)(void *)(m->errs + n);
    m->key_lens = (size_t *)(void *)(m->keys + n);
    m->value_lens = m->key_lens + n;
    m->rows = (uint8_t *)(m->value_lens + n);
    for (size_t i = 0; i < n; i++) {
        uint8_t *row = m->rows + i * STORE_ROW_KEY_MAX;
        m->key_lens[i] = store_row_key(req->keys[i], row);
        m->keys[i] = (const char *)row;
    }
    return p;
}

static enum confab_err get_many(struct store_rocksdb *s, const struct store_request *req,
                                struct store_answer *a)
{
    struct multi_get m;
    void *scratch = multi_get_begin(&m, req);
    if (!scratch) {
        return CONFAB_NOMEM;
    }
    rocksdb_multi_get(s->db, s->point, req->nkeys, m.keys, m.key_lens, m.values, m.value_lens,
                      m.errs);
    enum confab_err err = CONFAB_OK;
    for (uint32_t i = 0; i < req->nkeys; i++) {
        enum confab_err one = take_err(m.errs[i], "multi_get");
        if (err == CONFAB_OK) {
            err = one;
        }
        if (err == CONFAB_OK) {
            struct span value = span_of(m.values[i], m.value_lens[i]);
            err = store_answer_add(a, m.values[i] != NULL, (struct span){NULL, 0},
                                   m.values[i] ? value : (struct span){NULL, 0});
        }
        rocksdb_free(m.values[i]);
    }
    free(scratch);
    return err;
}

static enum confab_err do_get(struct store_rocksdb *s, const struct store_request *req,
                              struct store_answer *a)
{
    for (uint32_t i = 0; i < req->nkeys; i++) {
        if (!store_key_ok(req->keys[i])) {
            return CONFAB_INVALID;
        }
    }
    if (req->nkeys == 1) {
        return get_one(s, req->keys[0], a);
    }
    return req->nkeys == 0 ? CONFAB_OK : get_many(s, req, a);
}

static enum confab_err walk_range(rocksdb_iterator_t *it, struct store_request *req,
                                  const struct store_bounds *b, struct store_answer *a)
{
    size_t bytes = 0;
    while (rocksdb_iter_valid(it)) {
        size_t key_len = 0;
        size_t value_len = 0;
        const char *key = rocksdb_iter_key(it, &key_len);
        const char *value = rocksdb_iter_value(it, &value_len);
        if (a->nrows > 0 && (a->nrows >= req->limit || bytes + value_len > req->bytes_max)) {
            req->ret_more = true;
            break;
        }
        bytes += value_len;
        enum confab_err err =
            store_answer_add(a, true, span_of(key + b->prefix_len, key_len - b->prefix_len),
                             span_of(value, value_len));
        if (err != CONFAB_OK) {
            return err;
        }
        if (req->reverse) {
            rocksdb_iter_prev(it);
        } else {
            rocksdb_iter_next(it);
        }
    }
    char *text = NULL;
    rocksdb_iter_get_error(it, &text);
    return take_err(text, "iterate");
}

/* The greatest row key of a range; it has the prefix of the range, as its upper bound may not. */
static size_t last_key(const struct store_request *req, const struct store_bounds *b,
                       uint8_t out[STORE_ROW_KEY_MAX])
{
    memcpy(out, b->first, b->prefix_len);
    if (req->to.n > 0) {
        memcpy(out + b->prefix_len, req->to.p, req->to.n);
        return b->prefix_len + req->to.n;
    }
    memset(out + b->prefix_len, 0xff, STORE_SORT_MAX);
    return b->prefix_len + STORE_SORT_MAX;
}

static enum confab_err do_range(struct store_rocksdb *s, struct store_request *req,
                                struct store_answer *a)
{
    struct store_bounds b;
    req->ret_more = false;
    enum confab_err err = store_range_bounds(req, &b);
    if (err != CONFAB_OK || store_bounds_empty(&b)) {
        return err;
    }
    /*
     * With both bounds set the iterator never walks over another key's rows or tombstones, and a
     * seek by prefix, which may skip files without the prefix, cannot leave it.
     */
    rocksdb_readoptions_t *ro = rocksdb_readoptions_create();
    rocksdb_readoptions_set_iterate_lower_bound(ro, (const char *)b.first, b.first_len);
    rocksdb_readoptions_set_iterate_upper_bound(ro, (const char *)b.past, b.past_len);
    rocksdb_readoptions_set_total_order_seek(ro, !rocksdb_prefixed(req->table));
    rocksdb_iterator_t *it = rocksdb_create_iterator(s->db, ro);
    if (req->reverse) {
        uint8_t last[STORE_ROW_KEY_MAX];
        size_t n = last_key(req, &b, last);
        rocksdb_iter_seek_for_prev(it, (const char *)last, n);
    } else {
        rocksdb_iter_seek(it, (const char *)b.first, b.first_len);
    }
    err = walk_range(it, req, &b, a);
    rocksdb_iter_destroy(it);
    rocksdb_readoptions_destroy(ro);
    return err;
}

static enum confab_err add_item(rocksdb_writebatch_t *wb, const struct store_batch_item *item)
{
    if (item->op == STORE_BATCH_DEL_RANGE) {
        struct store_bounds b;
        enum confab_err err = store_del_range_bounds(item, &b);
        if (err == CONFAB_OK && !store_bounds_empty(&b)) {
            rocksdb_writebatch_delete_range(wb, (const char *)b.first, b.first_len,
                                            (const char *)b.past, b.past_len);
        }
        return err;
    }
    if (!store_key_ok(item->key)) {
        return CONFAB_INVALID;
    }
    uint8_t row[STORE_ROW_KEY_MAX];
    size_t n = store_row_key(item->key, row);
    if (item->op == STORE_BATCH_PUT) {
        rocksdb_writebatch_put(wb, (const char *)row, n, (const char *)item->value.p,
                               item->value.n);
    } else {
        rocksdb_writebatch_delete(wb, (const char *)row, n);
    }
    return CONFAB_OK;
}

static enum confab_err do_write(struct store_rocksdb *s, const struct store_request *req)
{
    if (!buf_ok(&req->batch)) {
        return CONFAB_NOMEM;
    }
    rocksdb_writebatch_t *wb = rocksdb_writebatch_create();
    struct reader r = reader_of(req->batch.data, req->batch.len);
    struct store_batch_item item;
    enum confab_err err = store_batch_next(&r, &item);
    while (err == CONFAB_OK) {
        err = add_item(wb, &item);
        if (err == CONFAB_OK) {
            err = store_batch_next(&r, &item);
        }
    }
    if (err == CONFAB_EOF) {
        char *text = NULL;
        rocksdb_write(s->db, s->write, wb, &text);
        err = take_err(text, "write");
    }
    rocksdb_writebatch_destroy(wb);
    if (err == CONFAB_OK) {
        atomic_fetch_add_explicit(&s->bytes_written, req->batch.len, memory_order_relaxed);
    }
    return err;
}

static uint64_t property(struct store_rocksdb *s, const char *name)
{
    uint64_t v = 0;
    return rocksdb_property_int(s->db, name, &v) == 0 ? v : 0;
}

static enum confab_err set_option(struct store_rocksdb *s, const char *name, const char *value)
{
    char *text = NULL;
    rocksdb_set_options(s->db, 1, &name, &value, &text);
    return take_err(text, "set_options");
}

/*
 * Values that lie beside the tables are rewritten by merges only while there is much among them
 * that nothing names any more: with little, that would cost more than all other merging.
 */
static void collect_garbage(struct store_rocksdb *s)
{
    uint64_t all = property(s, "rocksdb.live-blob-file-size");
    uint64_t garbage = property(s, "rocksdb.live-blob-file-garbage-size");
    (void)pthread_mutex_lock(&s->options_lock);
    bool wanted = garbage > all / (s->collecting ? GARBAGE_ENDS : GARBAGE_BEGINS);
    if (wanted != s->collecting &&
        set_option(s, "enable_blob_garbage_collection", wanted ? "true" : "false") == CONFAB_OK) {
        s->collecting = wanted; /* otherwise the next flush tries again */
    }
    (void)pthread_mutex_unlock(&s->options_lock);
}

/*
 * A merge of level 0 writes the level below anew, however little is new: most of what merges cost.
 * So while much is written, and little read, it waits for more files; each is one more to be asked
 * by a look-up. Called now and then.
 */
static void pace_merges(struct store_rocksdb *s)
{
    struct pace *p = &s->pace;
    (void)pthread_mutex_lock(&s->options_lock);
    uint64_t now = clock_mono_ns(clock_system());
    if (now - p->began_ns >= p->window_ns) {
        uint64_t bytes = atomic_load_explicit(&s->bytes_written, memory_order_relaxed);
        uint64_t ms = (now - p->began_ns) / 1000000U;
        uint64_t reads = atomic_load_explicit(&s->reads, memory_order_relaxed);
        bool busy = bytes > p->began_bytes && bytes - p->began_bytes >= p->bytes * ms / 1000U &&
                    reads - p->began_reads <= BUSY_READS * ms / 1000U;
        char files[16];
        (void)snprintf(files, sizeof(files), "%d", busy ? ROCKSDB_LEVEL0_BUSY : ROCKSDB_LEVEL0);
        if (busy != p->busy &&
            set_option(s, "level0_file_num_compaction_trigger", files) == CONFAB_OK) {
            p->busy = busy; /* otherwise the next window tries again */
        }
        p->began_ns = now;
        p->began_bytes = bytes;
        p->began_reads = reads;
    }
    (void)pthread_mutex_unlock(&s->options_lock);
}

static enum confab_err do_flush(struct store_rocksdb *s)
{
    char *text = NULL;
    rocksdb_flush(s->db, s->flush, &text);
    enum confab_err err = take_err(text, "flush");
    if (err == CONFAB_OK) {
        collect_garbage(s);
        pace_merges(s);
    }
    return err;
}

static void count(atomic_uint_fast64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static void run_request(struct job *job)
{
    struct store_request *req = CONTAINER_OF(job, struct store_request, job);
    struct store_rocksdb *s = req->adapter;
    struct store_answer a;
    store_answer_begin(&a);
    enum confab_err err = CONFAB_INVALID;
    switch (req->op) {
    case STORE_GET:
        count(&s->reads);
        err = do_get(s, req, &a);
        break;
    case STORE_RANGE:
        count(&s->reads);
        err = do_range(s, req, &a);
        break;
    case STORE_WRITE:
        count(&s->writes);
        err = do_write(s, req);
        break;
    case STORE_FLUSH:
        count(&s->flushes);
        err = do_flush(s);
        break;
    }
    if (err != CONFAB_OK) {
        count(&s->errors);
    }
    store_answer_finish(&a, req, err);
    req->done(req); /* may free the request */
}

static enum confab_err rocks_submit(struct message_store *store, struct store_request *req)
{
    struct store_rocksdb *s = rocks_of(store);
    req->adapter = s;
    req->job.run = run_request;
    bool read = req->op == STORE_GET || req->op == STORE_RANGE;
    return executor_submit(read ? s->readers : s->writer, &req->job);
}

static uint32_t level0_files(struct store_rocksdb *s)
{
    char *text = rocksdb_property_value(s->db, "rocksdb.num-files-at-level0");
    uint32_t n = text ? (uint32_t)strtoul(text, NULL, 10) : 0;
    rocksdb_free(text);
    return n;
}

static void rocks_stats(struct message_store *store, struct store_stats *ret)
{
    struct store_rocksdb *s = rocks_of(store);
    pace_merges(s); /* also when nothing is written any more */
    ret->reads = atomic_load_explicit(&s->reads, memory_order_relaxed);
    ret->writes = atomic_load_explicit(&s->writes, memory_order_relaxed);
    ret->flushes = atomic_load_explicit(&s->flushes, memory_order_relaxed);
    ret->errors = atomic_load_explicit(&s->errors, memory_order_relaxed) +
                  property(s, "rocksdb.background-errors");
    ret->bytes_written = atomic_load_explicit(&s->bytes_written, memory_order_relaxed);
    ret->disk_bytes =
        property(s, "rocksdb.total-sst-files-size") + property(s, "rocksdb.total-blob-file-size");
    ret->garbage_bytes = property(s, "rocksdb.live-blob-file-garbage-size");
    ret->unmerged_files = level0_files(s);
    ret->memory_bytes = property(s, "rocksdb.cur-size-all-mem-tables") +
                        property(s, "rocksdb.estimate-table-readers-mem") +
                        rocksdb_cache_get_usage(s->setup.cache);
}

static bool is_empty(struct store_rocksdb *s)
{
    rocksdb_iterator_t *it = rocksdb_create_iterator(s->db, s->point);
    rocksdb_iter_seek_to_first(it);
    bool empty = !rocksdb_iter_valid(it);
    rocksdb_iter_destroy(it);
    return empty;
}

static enum confab_err write_format(struct store_rocksdb *s, char **ret_text)
{
    const char value[4] = {FORMAT_VERSION, 0, 0, 0};
    rocksdb_put(s->db, s->write, FORMAT_KEY, FORMAT_KEY_LEN, value, sizeof(value), ret_text);
    if (!*ret_text) {
        rocksdb_flush(s->db, s->flush, ret_text);
    }
    return *ret_text ? rocksdb_err(*ret_text) : CONFAB_OK;
}

/* Writes the format version into a new store, checks that of an old one. */
static enum confab_err check_format(struct store_rocksdb *s, char **ret_text)
{
    size_t len = 0;
    char *value = rocksdb_get(s->db, s->point, FORMAT_KEY, FORMAT_KEY_LEN, &len, ret_text);
    if (*ret_text) {
        return rocksdb_err(*ret_text);
    }
    if (!value) {
        /* Rows without it are not ours. */
        return is_empty(s) ? write_format(s, ret_text) : CONFAB_VERSION;
    }
    struct reader r = reader_of(value, len);
    uint32_t version = reader_u32(&r);
    bool known = !r.bad && version == FORMAT_VERSION;
    rocksdb_free(value);
    return known ? CONFAB_OK : CONFAB_VERSION;
}

/* A failed open; `text` is the engine's and may be NULL. */
static void explain(enum confab_err err, const char *path, const char *text, char *detail,
                    size_t detail_size)
{
    const char *why = text ? text : err == CONFAB_VERSION ? "newer, or not a store" : err_text(err);
    diag_error(DIAG_STORE, "the store cannot be opened | path=\"%s\" text=\"%s\"", path, why);
    if (detail && detail_size > 0) {
        size_t n = MIN(strlen(why), detail_size - 1);
        memcpy(detail, why, n);
        detail[n] = 0;
    }
}

struct opening {
    const rocksdb_options_t *options;
    const char *path;
    char *text;
    rocksdb_t *db;
};

static void *open_here(void *arg)
{
    struct opening *o = arg;
    o->db = rocksdb_open(o->options, o->path, &o->text);
    return NULL;
}

static void *open_standing_back(void *arg)
{
    /* A compaction computes for seconds. Nicer than this it falls behind shards that take all. */
    thread_stand_back(THREAD_STANDS_BACK);
    return open_here(arg);
}

/* RocksDB starts its threads with the first database that it opens, and they are as nice as the
 * thread that did it: one of its own, since nobody may become less nice again. */
static void open_db(struct opening *o)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, open_standing_back, o) != 0) {
        (void)open_here(o);
        return;
    }
    (void)pthread_join(thread, NULL);
}

enum confab_err store_rocksdb_open(const char *path, struct store_rocksdb_cfg cfg,
                                   struct executor *readers, struct executor *writer, char *detail,
                                   size_t detail_size, struct message_store **ret)
{
    struct store_rocksdb *s = calloc(1, sizeof(*s));
    if (!s) {
        return CONFAB_NOMEM;
    }
    s->base.ops = &OPS;
    s->readers = readers;
    s->writer = writer;
    CHECK(pthread_mutex_init(&s->options_lock, NULL) == 0);
    s->pace.bytes = cfg.busy_bytes ? cfg.busy_bytes : BUSY_BYTES;
    s->pace.window_ns = (cfg.busy_ms ? cfg.busy_ms : BUSY_MS) * 1000000ULL;
    s->pace.began_ns = clock_mono_ns(clock_system());
    rocksdb_setup_init(&s->setup, cfg, rocksdb_direct_works(path));
    s->point = rocksdb_readoptions_create();
    s->write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(s->write, 1);
    s->flush = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(s->flush, 1);

    struct opening opening = {.options = s->setup.options, .path = path};
    open_db(&opening);
    char *text = opening.text;
    s->db = opening.db;
    enum confab_err err = s->db ? check_format(s, &text) : rocksdb_err(text);
    if (err != CONFAB_OK) {
        explain(err, path, text, detail, detail_size);
        rocksdb_free(text);
        store_rocksdb_close(&s->base);
        return err;
    }
    *ret = &s->base;
    return CONFAB_OK;
}

void store_rocksdb_compact(struct message_store *store)
{
    /* An error is logged, and the next start tries again. */
    (void)set_option(rocks_of(store), "disable_auto_compactions", "false");
}

void store_rocksdb_close(struct message_store *store)
{
    if (!store) {
        return;
    }
    struct store_rocksdb *s = rocks_of(store);
    if (s->db) {
        rocksdb_close(s->db);
    }
    rocksdb_flushoptions_destroy(s->flush);
    rocksdb_writeoptions_destroy(s->write);
    rocksdb_readoptions_destroy(s->point);
    rocksdb_setup_deinit(&s->setup);
    (void)pthread_mutex_destroy(&s->options_lock);
    free(s);
}

static const struct message_store_ops OPS = {"rocksdb", 1, rocks_submit, rocks_stats};
