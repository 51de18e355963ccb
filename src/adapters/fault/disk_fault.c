#include "disk_fault.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/check.h"

enum { PLANS_MAX = 16 };

struct plan {
    enum disk_op op;
    uint64_t from; /* counts of calls, inclusive */
    uint64_t to;
    enum confab_err err;
    size_t keep; /* of a pwrite: bytes written before it fails */
};

struct disk_fault {
    struct disk base;
    struct disk *below;
    pthread_mutex_t mu;
    uint64_t calls[DISK_OP_COUNT];
    struct plan plans[PLANS_MAX];
    size_t plan_count;
    void (*on_op)(void *arg, enum disk_op op, size_t bytes);
    void *hook_arg;
};

struct fault_file {
    struct disk_file base;
    struct disk_file *below;
};

static const struct disk_ops OPS;

static struct disk_fault *fault_of(struct disk *d)
{
    CHECK(d->ops == &OPS);
    return CONTAINER_OF(d, struct disk_fault, base);
}

static struct disk_file *below_of(struct disk_file *f)
{
    CHECK(f->disk->ops == &OPS);
    return CONTAINER_OF(f, struct fault_file, base)->below;
}

/* Counts the call; the planned error, or CONFAB_OK. */
static enum confab_err count(struct disk *d, enum disk_op op, size_t bytes, size_t *ret_keep)
{
    struct disk_fault *f = fault_of(d);
    if (f->on_op) {
        f->on_op(f->hook_arg, op, bytes);
    }
    enum confab_err err = CONFAB_OK;
    pthread_mutex_lock(&f->mu);
    uint64_t call = ++f->calls[op];
    for (size_t i = 0; !err && i < f->plan_count; i++) {
        const struct plan *p = &f->plans[i];
        if (p->op == op && call >= p->from && call <= p->to) {
            err = p->err;
            if (ret_keep) {
                *ret_keep = MIN(p->keep, bytes);
            }
        }
    }
    pthread_mutex_unlock(&f->mu);
    return err;
}

static enum confab_err fault_open(struct disk *d, const char *name, int flags,
                                  struct disk_file **ret)
{
    enum confab_err err = count(d, DISK_OP_OPEN, 0, NULL);
    if (err) {
        return err;
    }
    struct fault_file *file = calloc(1, sizeof(*file));
    if (!file) {
        return CONFAB_NOMEM;
    }
    file->base.disk = d;
    err = disk_open(fault_of(d)->below, name, flags, &file->below);
    if (err) {
        free(file);
        return err;
    }
    *ret = &file->base;
    return CONFAB_OK;
}

static void fault_close(struct disk_file *f)
{
    disk_close(below_of(f));
    free(CONTAINER_OF(f, struct fault_file, base));
}

static enum confab_err fault_pread(struct disk_file *f, void *buf, size_t n, uint64_t off,
                                   size_t *ret_n)
{
    enum confab_err err = count(f->disk, DISK_OP_PREAD, n, NULL);
    return err ? err : disk_pread(below_of(f), buf, n, off, ret_n);
}

static enum confab_err fault_pwrite(struct disk_file *f, const void *buf, size_t n, uint64_t off)
{
    size_t keep = 0;
    enum confab_err err = count(f->disk, DISK_OP_PWRITE, n, &keep);
    if (!err) {
        return disk_pwrite(below_of(f), buf, n, off);
    }
    enum confab_err below = keep > 0 ? disk_pwrite(below_of(f), buf, keep, off) : CONFAB_OK;
    return below ? below : err;
}

static enum confab_err fault_preallocate(struct disk_file *f, uint64_t size)
{
    enum confab_err err = count(f->disk, DISK_OP_PREALLOCATE, 0, NULL);
    return err ? err : disk_preallocate(below_of(f), size);
}

static enum confab_err fault_truncate(struct disk_file *f, uint64_t size)
{
    enum confab_err err = count(f->disk, DISK_OP_TRUNCATE, 0, NULL);
    return err ? err : disk_truncate(below_of(f), size);
}

static enum confab_err fault_size(struct disk_file *f, uint64_t *ret_size)
{
    enum confab_err err = count(f->disk, DISK_OP_SIZE, 0, NULL);
    return err ? err : disk_size(below_of(f), ret_size);
}

static enum confab_err fault_sync(struct disk_file *f)
{
    enum confab_err err = count(f->disk, DISK_OP_SYNC, 0, NULL);
    return err ? err : disk_sync(below_of(f));
}

static enum confab_err fault_rename(struct disk *d, const char *from, const char *to)
{
    enum confab_err err = count(d, DISK_OP_RENAME, 0, NULL);
    return err ? err : disk_rename(fault_of(d)->below, from, to);
}

static enum confab_err fault_unlink(struct disk *d, const char *name)
{
    enum confab_err err = count(d, DISK_OP_UNLINK, 0, NULL);
    return err ? err : disk_unlink(fault_of(d)->below, name);
}

static enum confab_err fault_sync_dir(struct disk *d)
{
    enum confab_err err = count(d, DISK_OP_SYNC_DIR, 0, NULL);
    return err ? err : disk_sync_dir(fault_of(d)->below);
}

static enum confab_err
fault_list(struct disk *d, enum confab_err (*on_name)(void *arg, const char *name), void *arg)
{
    enum confab_err err = count(d, DISK_OP_LIST, 0, NULL);
    return err ? err : disk_list(fault_of(d)->below, on_name, arg);
}

static enum confab_err fault_free_bytes(struct disk *d, uint64_t *ret_bytes)
{
    enum confab_err err = count(d, DISK_OP_FREE_BYTES, 0, NULL);
    return err ? err : disk_free_bytes(fault_of(d)->below, ret_bytes);
}

enum confab_err disk_fault_new(struct disk *below, struct disk_fault **ret_fault)
{
    struct disk_fault *f = calloc(1, sizeof(*f));
    if (!f) {
        return CONFAB_NOMEM;
    }
    f->base.ops = &OPS;
    f->below = below;
    pthread_mutex_init(&f->mu, NULL);
    *ret_fault = f;
    return CONFAB_OK;
}

void disk_fault_free(struct disk_fault *f)
{
    if (f) {
        pthread_mutex_destroy(&f->mu);
        free(f);
    }
}

struct disk *disk_fault_disk(struct disk_fault *f)
{
    return &f->base;
}

static void add_plan(struct disk_fault *f, struct plan p, uint64_t nth, uint64_t n)
{
    pthread_mutex_lock(&f->mu);
    size_t kept = 0;
    for (size_t i = 0; i < f->plan_count; i++) { /* those that are over make room */
        if (f->calls[f->plans[i].op] < f->plans[i].to) {
            f->plans[kept++] = f->plans[i];
        }
    }
    f->plan_count = kept;
    CHECK(f->plan_count < PLANS_MAX && nth > 0 && n > 0);
    p.from = f->calls[p.op] + nth;
    p.to = n > UINT64_MAX - p.from ? UINT64_MAX : p.from + n - 1;
    f->plans[f->plan_count++] = p;
    pthread_mutex_unlock(&f->mu);
}

void disk_fault_plan(struct disk_fault *f, enum disk_op op, uint64_t nth, uint64_t n,
                     enum confab_err err)
{
    add_plan(f, (struct plan){.op = op, .err = err}, nth, n);
}

void disk_fault_tear(struct disk_fault *f, uint64_t nth, size_t keep, enum confab_err err)
{
    add_plan(f, (struct plan){.op = DISK_OP_PWRITE, .err = err, .keep = keep}, nth, 1);
}

void disk_fault_forget(struct disk_fault *f)
{
    pthread_mutex_lock(&f->mu);
    f->plan_count = 0;
    pthread_mutex_unlock(&f->mu);
}

void disk_fault_set_hook(struct disk_fault *f,
                         void (*on_op)(void *arg, enum disk_op op, size_t bytes), void *arg)
{
    f->on_op = on_op;
    f->hook_arg = arg;
}

uint64_t disk_fault_calls(struct disk_fault *f, enum disk_op op)
{
    pthread_mutex_lock(&f->mu);
    uint64_t n = f->calls[op];
    pthread_mutex_unlock(&f->mu);
    return n;
}

static const struct disk_ops OPS = {
    .name = "fault",
    .version = 1,
    .open = fault_open,
    .close = fault_close,
    .pread = fault_pread,
    .pwrite = fault_pwrite,
    .preallocate = fault_preallocate,
    .truncate = fault_truncate,
    .size = fault_size,
    .sync = fault_sync,
    .rename = fault_rename,
    .unlink = fault_unlink,
    .sync_dir = fault_sync_dir,
    .list = fault_list,
    .free_bytes = fault_free_bytes,
};
