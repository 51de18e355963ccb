/* The port, the faults and the counters; disk_sim_files.c has the files and what a crash does. */
#include "disk_sim.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "disk_sim_files.h"

enum { FAULTS_MAX = 16 };

struct fault {
    enum disk_op op;
    uint64_t from; /* counts of calls, inclusive */
    uint64_t to;
    enum confab_err err;
};

struct disk_sim {
    struct disk base;
    pthread_mutex_t mu;
    struct sim_files files;
    uint64_t generation; /* of open files */
    uint64_t calls[DISK_OP_COUNT];
    uint64_t changes;
    uint64_t halt_at;
    bool halted;
    struct fault faults[FAULTS_MAX];
    size_t fault_count;
    void (*on_op)(void *arg, enum disk_op op, size_t bytes);
    void *hook_arg;
};

struct sim_file {
    struct disk_file base;
    struct sim_inode *inode;
    uint64_t generation;
    bool writable;
};

static const struct disk_ops OPS;

static struct disk_sim *sim_of(struct disk *d)
{
    CHECK(d->ops == &OPS);
    return CONTAINER_OF(d, struct disk_sim, base);
}

/* Each operation begins here, and then holds mu. On an error mu is not held. */
static enum confab_err begin(struct disk_sim *sim, enum disk_op op, size_t bytes, bool changes)
{
    if (sim->on_op) {
        sim->on_op(sim->hook_arg, op, bytes);
    }
    pthread_mutex_lock(&sim->mu);
    uint64_t call = ++sim->calls[op];
    enum confab_err err = CONFAB_OK;
    if (changes && !sim->halted && sim->changes >= sim->halt_at) {
        sim->halted = true;
    }
    if (sim->halted) {
        err = CONFAB_CLOSED;
    }
    for (size_t i = 0; !err && i < sim->fault_count; i++) {
        const struct fault *f = &sim->faults[i];
        if (f->op == op && call >= f->from && call <= f->to) {
            err = f->err;
        }
    }
    if (err) {
        pthread_mutex_unlock(&sim->mu);
        return err;
    }
    sim->changes += changes;
    return CONFAB_OK;
}

static enum confab_err finish(struct disk_sim *sim, enum confab_err err)
{
    pthread_mutex_unlock(&sim->mu);
    return err;
}

static enum confab_err begin_file(struct disk_file *file, enum disk_op op, size_t bytes,
                                  bool changes, struct disk_sim **ret_sim,
                                  struct sim_inode **ret_inode)
{
    struct sim_file *f = CONTAINER_OF(file, struct sim_file, base);
    struct disk_sim *sim = sim_of(file->disk);
    enum confab_err err = begin(sim, op, bytes, changes);
    if (err) {
        return err;
    }
    if (f->generation != sim->generation) {
        return finish(sim, CONFAB_CLOSED);
    }
    CHECK(!changes || op == DISK_OP_SYNC || f->writable);
    *ret_sim = sim;
    *ret_inode = f->inode;
    return CONFAB_OK;
}

/* The port */

static enum confab_err sim_open(struct disk *disk, const char *name, int flags,
                                struct disk_file **ret)
{
    struct disk_sim *sim = sim_of(disk);
    CHECK(!strchr(name, '/') && strlen(name) < SIM_NAME_BYTES);
    pthread_mutex_lock(&sim->mu);
    bool creates = (flags & DISK_CREATE) && !sim_files_find(&sim->files, name);
    pthread_mutex_unlock(&sim->mu);
    enum confab_err err = begin(sim, DISK_OP_OPEN, 0, creates);
    if (err) {
        return err;
    }
    struct sim_inode *inode = sim_files_find(&sim->files, name);
    if (!inode && !(flags & DISK_CREATE)) {
        return finish(sim, CONFAB_NOT_FOUND);
    }
    if (inode && (flags & DISK_EXCL)) {
        return finish(sim, CONFAB_EXISTS);
    }
    struct sim_file *f = calloc(1, sizeof(*f));
    if (!f) {
        return finish(sim, CONFAB_NOMEM);
    }
    if (!inode) {
        inode = sim_files_create(&sim->files, name);
    }
    f->base.disk = disk;
    f->inode = inode;
    f->generation = sim->generation;
    f->writable = flags & DISK_WRITE;
    sim_inode_ref(inode);
    *ret = &f->base;
    return finish(sim, CONFAB_OK);
}

static void sim_close(struct disk_file *file)
{
    struct sim_file *f = CONTAINER_OF(file, struct sim_file, base);
    struct disk_sim *sim = sim_of(file->disk);
    pthread_mutex_lock(&sim->mu);
    sim_inode_unref(&sim->files, f->inode);
    pthread_mutex_unlock(&sim->mu);
    free(f);
}

static enum confab_err sim_pread(struct disk_file *file, void *buf, size_t n, uint64_t off,
                                 size_t *ret_n)
{
    struct disk_sim *sim = NULL;
    struct sim_inode *inode = NULL;
    enum confab_err err = begin_file(file, DISK_OP_PREAD, n, false, &sim, &inode);
    if (err) {
        return err;
    }
    size_t got = off >= inode->now.size ? 0 : MIN(n, inode->now.size - (size_t)off);
    if (got > 0) {
        memcpy(buf, inode->now.bytes + off, got);
    }
    *ret_n = got;
    return finish(sim, CONFAB_OK);
}

static enum confab_err sim_pwrite(struct disk_file *file, const void *buf, size_t n, uint64_t off)
{
    struct disk_sim *sim = NULL;
    struct sim_inode *inode = NULL;
    enum confab_err err = begin_file(file, DISK_OP_PWRITE, n, true, &sim, &inode);
    if (err) {
        return err;
    }
    return finish(sim, sim_inode_write(&sim->files, inode, buf, n, off));
}

static enum confab_err sim_preallocate(struct disk_file *file, uint64_t size)
{
    struct disk_sim *sim = NULL;
    struct sim_inode *inode = NULL;
    enum confab_err err = begin_file(file, DISK_OP_PREALLOCATE, 0, true, &sim, &inode);
    if (err) {
        return err;
    }
    if (size > inode->now.size) {
        err = sim_inode_resize(&sim->files, inode, size);
    }
    return finish(sim, err);
}

static enum confab_err sim_truncate(struct disk_file *file, uint64_t size)
{
    struct disk_sim *sim = NULL;
    struct sim_inode *inode = NULL;
    enum confab_err err = begin_file(file, DISK_OP_TRUNCATE, 0, true, &sim, &inode);
    if (err) {
        return err;
    }
    return finish(sim, sim_inode_resize(&sim->files, inode, size));
}

static enum confab_err sim_size(struct disk_file *file, uint64_t *ret_size)
{
    struct disk_sim *sim = NULL;
    struct sim_inode *inode = NULL;
    enum confab_err err = begin_file(file, DISK_OP_SIZE, 0, false, &sim, &inode);
    if (err) {
        return err;
    }
    *ret_size = inode->now.size;
    return finish(sim, CONFAB_OK);
}

static enum confab_err sim_sync(struct disk_file *file)
{
    struct disk_sim *sim = NULL;
    struct sim_inode *inode = NULL;
    enum confab_err err = begin_file(file, DISK_OP_SYNC, 0, true, &sim, &inode);
    if (err && err != CONFAB_CLOSED) {
        sim = sim_of(file->disk);
        pthread_mutex_lock(&sim->mu);
        sim_inode_sync_failed(CONTAINER_OF(file, struct sim_file, base)->inode);
        return finish(sim, err);
    }
    if (err) {
        return err;
    }
    sim_inode_sync(inode);
    return finish(sim, CONFAB_OK);
}

static enum confab_err sim_rename(struct disk *disk, const char *from, const char *to)
{
    struct disk_sim *sim = sim_of(disk);
    CHECK(strlen(from) < SIM_NAME_BYTES && strlen(to) < SIM_NAME_BYTES);
    enum confab_err err = begin(sim, DISK_OP_RENAME, 0, true);
    if (err) {
        return err;
    }
    if (!sim_files_find(&sim->files, from)) {
        return finish(sim, CONFAB_NOT_FOUND);
    }
    sim_files_rename(&sim->files, from, to);
    return finish(sim, CONFAB_OK);
}

static enum confab_err sim_unlink(struct disk *disk, const char *name)
{
    struct disk_sim *sim = sim_of(disk);
    enum confab_err err = begin(sim, DISK_OP_UNLINK, 0, true);
    if (err) {
        return err;
    }
    if (!sim_files_find(&sim->files, name)) {
        return finish(sim, CONFAB_NOT_FOUND);
    }
    sim_files_unlink(&sim->files, name);
    return finish(sim, CONFAB_OK);
}

static enum confab_err sim_sync_dir(struct disk *disk)
{
    struct disk_sim *sim = sim_of(disk);
    enum confab_err err = begin(sim, DISK_OP_SYNC_DIR, 0, true);
    if (err) {
        return err;
    }
    sim_files_sync_names(&sim->files);
    return finish(sim, CONFAB_OK);
}

static enum confab_err sim_list(struct disk *disk,
                                enum confab_err (*on_name)(void *arg, const char *name), void *arg)
{
    struct disk_sim *sim = sim_of(disk);
    enum confab_err err = begin(sim, DISK_OP_LIST, 0, false);
    if (err) {
        return err;
    }
    /* Called without the lock: it may well open the file. */
    size_t count = sim->files.now.count;
    struct sim_entry *copy = malloc((count + 1) * sizeof(*copy));
    if (!copy) {
        return finish(sim, CONFAB_NOMEM);
    }
    if (count > 0) {
        memcpy(copy, sim->files.now.at, count * sizeof(*copy));
    }
    pthread_mutex_unlock(&sim->mu);
    for (size_t i = 0; !err && i < count; i++) {
        err = on_name(arg, copy[i].name);
    }
    free(copy);
    return err;
}

static enum confab_err sim_free_bytes(struct disk *disk, uint64_t *ret_bytes)
{
    struct disk_sim *sim = sim_of(disk);
    enum confab_err err = begin(sim, DISK_OP_FREE_BYTES, 0, false);
    if (err) {
        return err;
    }
    const struct sim_files *fs = &sim->files;
    if (fs->capacity == 0) {
        *ret_bytes = UINT64_MAX / 2;
    } else {
        *ret_bytes = fs->capacity > fs->used ? fs->capacity - fs->used : 0;
    }
    return finish(sim, CONFAB_OK);
}

void disk_sim_crash(struct disk_sim *sim, uint64_t seed)
{
    struct random_seeded r;
    random_seeded_init(&r, seed);
    pthread_mutex_lock(&sim->mu);
    sim->generation++;
    sim_files_crash(&sim->files, &r.base);
    sim->halted = false;
    sim->halt_at = UINT64_MAX;
    sim->fault_count = 0;
    pthread_mutex_unlock(&sim->mu);
}

void disk_sim_kill(struct disk_sim *sim)
{
    pthread_mutex_lock(&sim->mu);
    sim->generation++;
    sim->halted = false;
    sim->halt_at = UINT64_MAX;
    sim->fault_count = 0;
    pthread_mutex_unlock(&sim->mu);
}

void disk_sim_halt_after(struct disk_sim *sim, uint64_t n)
{
    pthread_mutex_lock(&sim->mu);
    sim->halt_at = n > UINT64_MAX - sim->changes ? UINT64_MAX : sim->changes + n;
    sim->halted = n == 0;
    pthread_mutex_unlock(&sim->mu);
}

bool disk_sim_halted(struct disk_sim *sim)
{
    pthread_mutex_lock(&sim->mu);
    bool halted = sim->halted;
    pthread_mutex_unlock(&sim->mu);
    return halted;
}

void disk_sim_fail(struct disk_sim *sim, enum disk_op op, uint64_t nth, uint64_t count,
                   enum confab_err err)
{
    pthread_mutex_lock(&sim->mu);
    size_t kept = 0;
    for (size_t i = 0; i < sim->fault_count; i++) { /* those that are over make room */
        if (sim->calls[sim->faults[i].op] < sim->faults[i].to) {
            sim->faults[kept++] = sim->faults[i];
        }
    }
    sim->fault_count = kept;
    CHECK(sim->fault_count < FAULTS_MAX && nth > 0 && count > 0);
    uint64_t from = sim->calls[op] + nth;
    sim->faults[sim->fault_count++] = (struct fault){
        .op = op,
        .from = from,
        .to = count > UINT64_MAX - from ? UINT64_MAX : from + count - 1,
        .err = err,
    };
    pthread_mutex_unlock(&sim->mu);
}

void disk_sim_heal(struct disk_sim *sim)
{
    pthread_mutex_lock(&sim->mu);
    sim->fault_count = 0;
    if (!sim->halted) {
        sim->halt_at = UINT64_MAX;
    }
    pthread_mutex_unlock(&sim->mu);
}

void disk_sim_set_capacity(struct disk_sim *sim, uint64_t bytes)
{
    pthread_mutex_lock(&sim->mu);
    sim->files.capacity = bytes;
    pthread_mutex_unlock(&sim->mu);
}

uint64_t disk_sim_calls(struct disk_sim *sim, enum disk_op op)
{
    pthread_mutex_lock(&sim->mu);
    uint64_t n = sim->calls[op];
    pthread_mutex_unlock(&sim->mu);
    return n;
}

uint64_t disk_sim_changes(struct disk_sim *sim)
{
    pthread_mutex_lock(&sim->mu);
    uint64_t n = sim->changes;
    pthread_mutex_unlock(&sim->mu);
    return n;
}

void disk_sim_set_hook(struct disk_sim *sim,
                       void (*on_op)(void *arg, enum disk_op op, size_t bytes), void *arg)
{
    sim->on_op = on_op;
    sim->hook_arg = arg;
}

enum confab_err disk_sim_flip(struct disk_sim *sim, const char *name, uint64_t offset, uint8_t mask)
{
    pthread_mutex_lock(&sim->mu);
    struct sim_inode *inode = sim_files_find(&sim->files, name);
    enum confab_err err = inode ? CONFAB_OK : CONFAB_NOT_FOUND;
    if (!err && offset >= inode->now.size) {
        err = CONFAB_INVALID;
    }
    if (!err) {
        inode->now.bytes[offset] ^= mask;
        if (offset < inode->durable.size) {
            inode->durable.bytes[offset] ^= mask;
        }
    }
    pthread_mutex_unlock(&sim->mu);
    return err;
}

enum confab_err disk_sim_new(const struct disk_sim_config *config, struct disk_sim **ret_sim)
{
    struct disk_sim *sim = calloc(1, sizeof(*sim));
    if (!sim) {
        return CONFAB_NOMEM;
    }
    sim->base.ops = &OPS;
    sim_files_init(&sim->files, config->capacity_bytes);
    sim->halt_at = UINT64_MAX;
    pthread_mutex_init(&sim->mu, NULL);
    *ret_sim = sim;
    return CONFAB_OK;
}

void disk_sim_free(struct disk_sim *sim)
{
    if (!sim) {
        return;
    }
    sim_files_deinit(&sim->files);
    pthread_mutex_destroy(&sim->mu);
    free(sim);
}

struct disk *disk_sim_disk(struct disk_sim *sim)
{
    return &sim->base;
}

enum confab_err disk_sim_clone(struct disk_sim *sim, struct disk_sim **ret_copy)
{
    struct disk_sim *copy = NULL;
    enum confab_err err =
        disk_sim_new(&(struct disk_sim_config){.capacity_bytes = sim->files.capacity}, &copy);
    if (err) {
        return err;
    }
    pthread_mutex_lock(&sim->mu);
    sim_files_copy(&copy->files, &sim->files);
    pthread_mutex_unlock(&sim->mu);
    *ret_copy = copy;
    return CONFAB_OK;
}

static const struct disk_ops OPS = {
    .name = "sim",
    .version = 1,
    .open = sim_open,
    .close = sim_close,
    .pread = sim_pread,
    .pwrite = sim_pwrite,
    .preallocate = sim_preallocate,
    .truncate = sim_truncate,
    .size = sim_size,
    .sync = sim_sync,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .sync_dir = sim_sync_dir,
    .list = sim_list,
    .free_bytes = sim_free_bytes,
};
