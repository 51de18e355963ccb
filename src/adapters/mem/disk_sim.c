/*
 * Each inode has the bytes as written (`now`), the bytes as durable, and the changes since the last
 * sync in order; replaying those over the durable bytes gives every version a sector had.
 */
#include "disk_sim.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/list.h"

enum { SECTOR = 512, NAME_BYTES = 64, FAULTS_MAX = 16 };

struct image {
    uint8_t *bytes;
    size_t size;
    size_t cap; /* bytes beyond size are zero */
};

struct change {
    struct list node;
    bool is_size; /* a new size; otherwise a write */
    bool lost;    /* a sync of it failed: never durable, though reads still see it */
    uint64_t off; /* or the size */
    size_t n;
    uint8_t data[];
};

struct inode {
    struct image now;
    struct image durable;
    struct list changes;
    uint32_t refs; /* names in either directory, and open files */
};

struct entry {
    char name[NAME_BYTES];
    struct inode *inode;
};

struct directory {
    struct entry *at;
    size_t count;
    size_t cap;
};

enum name_change_kind { NAME_LINK, NAME_UNLINK, NAME_RENAME };

struct name_change {
    struct list node;
    enum name_change_kind kind;
    char name[NAME_BYTES];
    char to[NAME_BYTES];
    struct inode *inode; /* NAME_LINK: held */
};

struct fault {
    enum disk_op op;
    uint64_t from; /* counts of calls, inclusive */
    uint64_t to;
    enum confab_err err;
};

struct disk_sim {
    struct disk base;
    pthread_mutex_t mu;
    uint64_t capacity;
    uint64_t used;
    uint64_t generation; /* of open files */
    uint64_t calls[DISK_OP_COUNT];
    uint64_t changes;
    uint64_t halt_at;
    bool halted;
    struct fault faults[FAULTS_MAX];
    size_t fault_count;
    struct directory now;
    struct directory durable;
    struct list name_changes;
    void (*on_op)(void *arg, enum disk_op op, size_t bytes);
    void *hook_arg;
};

struct sim_file {
    struct disk_file base;
    struct inode *inode;
    uint64_t generation;
    bool writable;
};

static const struct disk_ops OPS;

static struct disk_sim *sim_of(struct disk *d)
{
    CHECK(d->ops == &OPS);
    return CONTAINER_OF(d, struct disk_sim, base);
}

/* A simulator out of memory cannot give a meaningful result. */
static void *must(void *p)
{
    CHECK(p);
    return p;
}

/* Images */

static void image_resize(struct image *im, size_t size)
{
    if (size > im->cap) {
        size_t cap = MAX(size, im->cap * 2);
        uint8_t *p = must(calloc(1, cap)); /* not realloc: untouched zero pages cost nothing */
        if (im->size > 0) {
            memcpy(p, im->bytes, im->size);
        }
        free(im->bytes);
        im->bytes = p;
        im->cap = cap;
    } else if (size < im->size) {
        memset(im->bytes + size, 0, im->size - size);
    }
    im->size = size;
}

static void image_write(struct image *im, uint64_t off, const uint8_t *data, size_t n)
{
    if (off + n > im->size) {
        image_resize(im, (size_t)off + n);
    }
    memcpy(im->bytes + off, data, n);
}

static void image_apply(struct image *im, const struct change *c)
{
    if (c->is_size) {
        image_resize(im, (size_t)c->off);
    } else {
        image_write(im, c->off, c->data, c->n);
    }
}

static struct image image_copy(const struct image *im)
{
    struct image copy = {0};
    if (im->size > 0) {
        image_resize(&copy, im->size);
        memcpy(copy.bytes, im->bytes, im->size);
    }
    return copy;
}

static void image_deinit(struct image *im)
{
    free(im->bytes);
    *im = (struct image){0};
}

/* Inodes and names */

static void inode_forget_changes(struct inode *inode)
{
    for (struct list *n; (n = list_pop_front(&inode->changes));) {
        free(LIST_ENTRY(n, struct change, node));
    }
}

static void inode_unref(struct disk_sim *sim, struct inode *inode)
{
    if (--inode->refs > 0) {
        return;
    }
    sim->used -= inode->now.size;
    inode_forget_changes(inode);
    image_deinit(&inode->now);
    image_deinit(&inode->durable);
    free(inode);
}

static struct entry *dir_find(struct directory *dir, const char *name)
{
    for (size_t i = 0; i < dir->count; i++) {
        if (strcmp(dir->at[i].name, name) == 0) {
            return &dir->at[i];
        }
    }
    return NULL;
}

static void dir_unlink(struct disk_sim *sim, struct directory *dir, const char *name)
{
    struct entry *e = dir_find(dir, name);
    if (e) {
        struct inode *inode = e->inode;
        *e = dir->at[--dir->count];
        inode_unref(sim, inode);
    }
}

static void dir_link(struct disk_sim *sim, struct directory *dir, const char *name,
                     struct inode *inode)
{
    inode->refs++;
    dir_unlink(sim, dir, name);
    if (dir->count == dir->cap) {
        dir->cap = dir->cap ? dir->cap * 2 : 16;
        dir->at = must(realloc(dir->at, dir->cap * sizeof(*dir->at)));
    }
    struct entry *e = &dir->at[dir->count++];
    snprintf(e->name, sizeof(e->name), "%s", name);
    e->inode = inode;
}

static void dir_rename(struct disk_sim *sim, struct directory *dir, const char *from,
                       const char *to)
{
    struct entry *e = dir_find(dir, from);
    if (e && strcmp(from, to) != 0) {
        struct inode *inode = e->inode;
        inode->refs++;
        dir_unlink(sim, dir, from);
        dir_link(sim, dir, to, inode);
        inode_unref(sim, inode);
    }
}

static void dir_deinit(struct disk_sim *sim, struct directory *dir)
{
    while (dir->count > 0) {
        dir_unlink(sim, dir, dir->at[0].name);
    }
    free(dir->at);
    *dir = (struct directory){0};
}

static void name_change_apply(struct disk_sim *sim, struct directory *dir,
                              const struct name_change *c)
{
    switch (c->kind) {
    case NAME_LINK:
        dir_link(sim, dir, c->name, c->inode);
        break;
    case NAME_UNLINK:
        dir_unlink(sim, dir, c->name);
        break;
    case NAME_RENAME:
        dir_rename(sim, dir, c->name, c->to);
        break;
    }
}

static void name_change_add(struct disk_sim *sim, enum name_change_kind kind, const char *name,
                            const char *to, struct inode *inode)
{
    struct name_change *c = must(calloc(1, sizeof(*c)));
    c->kind = kind;
    snprintf(c->name, sizeof(c->name), "%s", name);
    snprintf(c->to, sizeof(c->to), "%s", to);
    c->inode = inode;
    if (inode) {
        inode->refs++;
    }
    list_push_back(&sim->name_changes, &c->node);
}

static void name_change_free(struct disk_sim *sim, struct name_change *c)
{
    if (c->inode) {
        inode_unref(sim, c->inode);
    }
    free(c);
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
                                  bool changes, struct disk_sim **ret_sim, struct inode **ret_inode)
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

/* Under mu: makes room for a file of that size, and notes the change for a crash. */
static enum confab_err resize(struct disk_sim *sim, struct inode *inode, uint64_t size)
{
    if (size > inode->now.size && sim->capacity > 0 &&
        sim->used + (size - inode->now.size) > sim->capacity) {
        return CONFAB_NO_SPACE;
    }
    sim->used = sim->used - inode->now.size + size;
    return CONFAB_OK;
}

static void change_add(struct inode *inode, bool is_size, uint64_t off, const void *data, size_t n)
{
    struct change *c = must(malloc(sizeof(*c) + n));
    c->is_size = is_size;
    c->lost = false;
    c->off = off;
    c->n = n;
    if (n > 0) {
        memcpy(c->data, data, n);
    }
    list_push_back(&inode->changes, &c->node);
    image_apply(&inode->now, c);
}

/* The port */

static enum confab_err sim_open(struct disk *disk, const char *name, int flags,
                                struct disk_file **ret)
{
    struct disk_sim *sim = sim_of(disk);
    CHECK(!strchr(name, '/') && strlen(name) < NAME_BYTES);
    pthread_mutex_lock(&sim->mu);
    bool creates = (flags & DISK_CREATE) && !dir_find(&sim->now, name);
    pthread_mutex_unlock(&sim->mu);
    enum confab_err err = begin(sim, DISK_OP_OPEN, 0, creates);
    if (err) {
        return err;
    }
    struct entry *e = dir_find(&sim->now, name);
    if (!e && !(flags & DISK_CREATE)) {
        return finish(sim, CONFAB_NOT_FOUND);
    }
    if (e && (flags & DISK_EXCL)) {
        return finish(sim, CONFAB_EXISTS);
    }
    struct inode *inode = e ? e->inode : NULL;
    if (!inode) {
        inode = must(calloc(1, sizeof(*inode)));
        list_init(&inode->changes);
        dir_link(sim, &sim->now, name, inode);
        name_change_add(sim, NAME_LINK, name, "", inode);
    }
    struct sim_file *f = must(calloc(1, sizeof(*f)));
    f->base.disk = disk;
    f->inode = inode;
    f->generation = sim->generation;
    f->writable = flags & DISK_WRITE;
    inode->refs++;
    *ret = &f->base;
    return finish(sim, CONFAB_OK);
}

static void sim_close(struct disk_file *file)
{
    struct sim_file *f = CONTAINER_OF(file, struct sim_file, base);
    struct disk_sim *sim = sim_of(file->disk);
    pthread_mutex_lock(&sim->mu);
    inode_unref(sim, f->inode);
    pthread_mutex_unlock(&sim->mu);
    free(f);
}

static enum confab_err sim_pread(struct disk_file *file, void *buf, size_t n, uint64_t off,
                                 size_t *ret_n)
{
    struct disk_sim *sim = NULL;
    struct inode *inode = NULL;
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
    struct inode *inode = NULL;
    enum confab_err err = begin_file(file, DISK_OP_PWRITE, n, true, &sim, &inode);
    if (err) {
        return err;
    }
    if (n > 0) {
        err = resize(sim, inode, MAX(inode->now.size, off + n));
        if (!err) {
            change_add(inode, false, off, buf, n);
        }
    }
    return finish(sim, err);
}

static enum confab_err sim_preallocate(struct disk_file *file, uint64_t size)
{
    struct disk_sim *sim = NULL;
    struct inode *inode = NULL;
    enum confab_err err = begin_file(file, DISK_OP_PREALLOCATE, 0, true, &sim, &inode);
    if (err) {
        return err;
    }
    if (size > inode->now.size) {
        err = resize(sim, inode, size);
        if (!err) {
            change_add(inode, true, size, NULL, 0);
        }
    }
    return finish(sim, err);
}

static enum confab_err sim_truncate(struct disk_file *file, uint64_t size)
{
    struct disk_sim *sim = NULL;
    struct inode *inode = NULL;
    enum confab_err err = begin_file(file, DISK_OP_TRUNCATE, 0, true, &sim, &inode);
    if (err) {
        return err;
    }
    err = resize(sim, inode, size);
    if (!err) {
        change_add(inode, true, size, NULL, 0);
    }
    return finish(sim, err);
}

static enum confab_err sim_size(struct disk_file *file, uint64_t *ret_size)
{
    struct disk_sim *sim = NULL;
    struct inode *inode = NULL;
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
    struct inode *inode = NULL;
    enum confab_err err = begin_file(file, DISK_OP_SYNC, 0, true, &sim, &inode);
    if (err && err != CONFAB_CLOSED) {
        /* As kernels do: the pages count as clean from now on, a later sync will not write them. */
        inode = CONTAINER_OF(file, struct sim_file, base)->inode;
        sim = sim_of(file->disk);
        pthread_mutex_lock(&sim->mu);
        LIST_EACH(&inode->changes, n)
        {
            LIST_ENTRY(n, struct change, node)->lost = true;
        }
        return finish(sim, err);
    }
    if (err) {
        return err;
    }
    LIST_EACH(&inode->changes, n)
    {
        const struct change *c = LIST_ENTRY(n, struct change, node);
        if (!c->lost) {
            image_apply(&inode->durable, c);
        }
    }
    inode_forget_changes(inode);
    return finish(sim, CONFAB_OK);
}

static enum confab_err sim_rename(struct disk *disk, const char *from, const char *to)
{
    struct disk_sim *sim = sim_of(disk);
    CHECK(strlen(from) < NAME_BYTES && strlen(to) < NAME_BYTES);
    enum confab_err err = begin(sim, DISK_OP_RENAME, 0, true);
    if (err) {
        return err;
    }
    if (!dir_find(&sim->now, from)) {
        return finish(sim, CONFAB_NOT_FOUND);
    }
    dir_rename(sim, &sim->now, from, to);
    name_change_add(sim, NAME_RENAME, from, to, NULL);
    return finish(sim, CONFAB_OK);
}

static enum confab_err sim_unlink(struct disk *disk, const char *name)
{
    struct disk_sim *sim = sim_of(disk);
    enum confab_err err = begin(sim, DISK_OP_UNLINK, 0, true);
    if (err) {
        return err;
    }
    if (!dir_find(&sim->now, name)) {
        return finish(sim, CONFAB_NOT_FOUND);
    }
    dir_unlink(sim, &sim->now, name);
    name_change_add(sim, NAME_UNLINK, name, "", NULL);
    return finish(sim, CONFAB_OK);
}

static void settle_names(struct disk_sim *sim, struct random_source *random)
{
    /* Without random: all of them. Otherwise a change survives if nothing it builds on was lost:
     * names of lost changes are remembered, and later changes of those are lost too. */
    struct directory lost = {0};
    struct inode marker = {.refs = 1, .changes = {&marker.changes, &marker.changes}};
    uint64_t mode = random ? random_below(random, 4) : 3;
    for (struct list *n; (n = list_pop_front(&sim->name_changes));) {
        struct name_change *c = LIST_ENTRY(n, struct name_change, node);
        bool keep = mode == 3 || (mode != 0 && random_below(random, 2) == 0);
        if (dir_find(&lost, c->name) || (c->kind == NAME_RENAME && dir_find(&lost, c->to))) {
            keep = false;
        }
        if (mode == 1 && lost.count > 0) {
            keep = false; /* in order, as a journal does */
        }
        if (keep) {
            name_change_apply(sim, &sim->durable, c);
        } else {
            dir_link(sim, &lost, c->name, &marker);
            if (c->kind == NAME_RENAME) {
                dir_link(sim, &lost, c->to, &marker);
            }
        }
        name_change_free(sim, c);
    }
    dir_deinit(sim, &lost);
}

static enum confab_err sim_sync_dir(struct disk *disk)
{
    struct disk_sim *sim = sim_of(disk);
    enum confab_err err = begin(sim, DISK_OP_SYNC_DIR, 0, true);
    if (err) {
        return err;
    }
    settle_names(sim, NULL);
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
    size_t count = sim->now.count;
    struct entry *copy = must(malloc((count + 1) * sizeof(*copy)));
    if (count > 0) {
        memcpy(copy, sim->now.at, count * sizeof(*copy));
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
    if (sim->capacity == 0) {
        *ret_bytes = UINT64_MAX / 2;
    } else {
        *ret_bytes = sim->capacity > sim->used ? sim->capacity - sim->used : 0;
    }
    return finish(sim, CONFAB_OK);
}

/* Crashes */

/* Replays the changes on a scratch image; after each, every sector it touched may be taken over. */
static void settle_inode(struct inode *inode, struct random_source *random)
{
    if (inode->changes.next == &inode->changes) {
        return;
    }
    uint64_t mode = random_below(random, 4);
    struct image scratch = image_copy(&inode->durable);
    struct image result = image_copy(&inode->durable);
    uint64_t torn = UINT64_MAX;
    bool size_settled = false;
    LIST_EACH(&inode->changes, n)
    {
        const struct change *c = LIST_ENTRY(n, struct change, node);
        size_t size_before = scratch.size;
        image_apply(&scratch, c);
        if (mode == 0) { /* nothing survives */
            continue;
        }
        /* The size first: what stands behind it cannot survive. */
        if (scratch.size != size_before && !size_settled) {
            if (mode == 3 || random_below(random, 4) != 0) {
                image_resize(&result, scratch.size);
            } else {
                size_settled = true;
            }
        }
        if (c->is_size || c->n == 0) {
            continue;
        }
        for (uint64_t s = c->off / SECTOR; s <= (c->off + c->n - 1) / SECTOR; s++) {
            size_t at = (size_t)s * SECTOR;
            size_t len = MIN((size_t)SECTOR, scratch.size - at);
            if (at >= result.size || (mode != 3 && random_below(random, 2) == 0)) {
                continue;
            }
            len = MIN(len, result.size - at);
            memcpy(result.bytes + at, scratch.bytes + at, len);
            torn = at;
        }
    }
    if (torn < result.size && mode == 2) {
        size_t len = MIN((size_t)SECTOR, result.size - (size_t)torn);
        size_t from = (size_t)random_below(random, len);
        random_fill(random, result.bytes + torn + from, len - from);
    }
    image_deinit(&scratch);
    image_deinit(&inode->durable);
    inode->durable = result;
}

void disk_sim_crash(struct disk_sim *sim, uint64_t seed)
{
    struct random_seeded r;
    random_seeded_init(&r, seed);
    pthread_mutex_lock(&sim->mu);
    sim->generation++;
    settle_names(sim, &r.base);
    dir_deinit(sim, &sim->now);
    for (size_t i = 0; i < sim->durable.count; i++) {
        struct inode *inode = sim->durable.at[i].inode;
        settle_inode(inode, &r.base);
        inode_forget_changes(inode);
        sim->used -= inode->now.size;
        image_deinit(&inode->now);
        inode->now = image_copy(&inode->durable);
        sim->used += inode->now.size;
        dir_link(sim, &sim->now, sim->durable.at[i].name, inode);
    }
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

void disk_sim_set_capacity(struct disk_sim *sim, uint64_t bytes)
{
    pthread_mutex_lock(&sim->mu);
    sim->capacity = bytes;
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
    struct entry *e = dir_find(&sim->now, name);
    enum confab_err err = e ? CONFAB_OK : CONFAB_NOT_FOUND;
    if (!err && offset >= e->inode->now.size) {
        err = CONFAB_INVALID;
    }
    if (!err) {
        e->inode->now.bytes[offset] ^= mask;
        if (offset < e->inode->durable.size) {
            e->inode->durable.bytes[offset] ^= mask;
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
    sim->capacity = config->capacity_bytes;
    sim->halt_at = UINT64_MAX;
    list_init(&sim->name_changes);
    pthread_mutex_init(&sim->mu, NULL);
    *ret_sim = sim;
    return CONFAB_OK;
}

void disk_sim_free(struct disk_sim *sim)
{
    if (!sim) {
        return;
    }
    for (struct list *n; (n = list_pop_front(&sim->name_changes));) {
        name_change_free(sim, LIST_ENTRY(n, struct name_change, node));
    }
    dir_deinit(sim, &sim->now);
    dir_deinit(sim, &sim->durable);
    CHECK(sim->used == 0); /* a file is still open */
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
        disk_sim_new(&(struct disk_sim_config){.capacity_bytes = sim->capacity}, &copy);
    if (err) {
        return err;
    }
    pthread_mutex_lock(&sim->mu);
    for (size_t i = 0; i < sim->now.count; i++) {
        struct inode *inode = must(calloc(1, sizeof(*inode)));
        list_init(&inode->changes);
        inode->now = image_copy(&sim->now.at[i].inode->now);
        inode->durable = image_copy(&sim->now.at[i].inode->now);
        copy->used += inode->now.size;
        dir_link(copy, &copy->now, sim->now.at[i].name, inode);
        dir_link(copy, &copy->durable, sim->now.at[i].name, inode);
    }
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
