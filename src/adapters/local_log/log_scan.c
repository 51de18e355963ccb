/*
 * Reading a log directory: which segments make up the sequence, where it ends, and what is damaged.
 *
 * INVARIANT: a file gets a segment's name only after its content was synced, and one that replaces
 * another has the same base LSN and a higher number. So of two with one base the higher counts, and
 * a segment without a valid header is damage, never a crash.
 *
 * A rename that was under way when the power failed may have left both names. Then a spare is a
 * segment's file, and writing it would destroy the segment: its header tells.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "local_log_internal.h"

static enum confab_err grow(void **at, size_t count, size_t *cap, size_t item)
{
    if (count < *cap) {
        return CONFAB_OK;
    }
    size_t n = *cap ? *cap * 2 : 16;
    void *p = realloc(*at, n * item);
    if (!p) {
        return CONFAB_NOMEM;
    }
    *at = p;
    *cap = n;
    return CONFAB_OK;
}

enum confab_err segment_list_reserve(struct segment_list *list)
{
    void *at = list->at;
    enum confab_err err = grow(&at, list->count, &list->cap, sizeof(struct segment *));
    list->at = at;
    return err;
}

enum confab_err segment_list_add(struct segment_list *list, struct segment *seg)
{
    enum confab_err err = segment_list_reserve(list);
    if (!err) {
        list->at[list->count++] = seg;
    }
    return err;
}

void segment_list_remove(struct segment_list *list, size_t i)
{
    free(list->at[i]);
    memmove(&list->at[i], &list->at[i + 1], (list->count - i - 1) * sizeof(struct segment *));
    list->count--;
}

void segment_list_deinit(struct segment_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->at[i]);
    }
    free(list->at);
    *list = (struct segment_list){0};
}

void segment_note(struct segment *seg, uint64_t lsn, uint64_t offset)
{
    if (seg->marks < SEGMENT_INDEX_MAX && offset >= seg->marks * (seg->size / SEGMENT_INDEX_MAX)) {
        seg->mark[seg->marks++] = (struct segment_mark){lsn, offset};
    }
}

enum confab_err u64_list_reserve(struct u64_list *list)
{
    void *at = list->at;
    enum confab_err err = grow(&at, list->count, &list->cap, sizeof(uint64_t));
    list->at = at;
    return err;
}

enum confab_err u64_list_add(struct u64_list *list, uint64_t v)
{
    enum confab_err err = u64_list_reserve(list);
    if (!err) {
        list->at[list->count++] = v;
    }
    return err;
}

void scan_deinit(struct scan *scan)
{
    segment_list_deinit(&scan->segments);
    free(scan->superseded.at);
    free(scan->unreadable.at);
    free(scan->spares.at);
    free(scan->twins.at);
    *scan = (struct scan){0};
}

void damage_add(struct local_log_damage *d, uint64_t segment, uint64_t offset, uint64_t from,
                uint64_t to)
{
    if (d->count == 0) {
        char name[LOG_NAME_MAX] = "";
        log_name_format(LOG_NAME_SEGMENT, segment, name);
        snprintf(d->text, sizeof(d->text),
                 "durable records are damaged in %s at offset %" PRIu64 ": lsn %" PRIu64
                 " to %" PRIu64,
                 name, offset, from, to);
    }
    if (d->count < LOCAL_LOG_DAMAGE_MAX) {
        d->ranges[d->count] = (struct local_log_range){segment, offset, from, to};
    }
    d->count++;
}

struct names {
    struct scan *scan;
    struct u64_list segments;
};

static enum confab_err on_name(void *arg, const char *name)
{
    struct names *names = arg;
    uint64_t number = 0;
    enum log_name kind = log_name_parse(name, &number);
    if (kind == LOG_NAME_OTHER) {
        return CONFAB_OK;
    }
    names->scan->number_max = MAX(names->scan->number_max, number);
    if (kind == LOG_NAME_DAMAGED) {
        return CONFAB_OK;
    }
    return u64_list_add(kind == LOG_NAME_SEGMENT ? &names->segments : &names->scan->spares, number);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int by_base(const void *a, const void *b)
{
    const struct segment *x = *(struct segment *const *)a;
    const struct segment *y = *(struct segment *const *)b;
    if (x->base_lsn != y->base_lsn) {
        return x->base_lsn < y->base_lsn ? -1 : 1;
    }
    return x->number < y->number ? -1 : x->number > y->number;
}

static enum confab_err load_headers(struct disk *disk, const struct u64_list *numbers,
                                    struct scan *scan)
{
    for (size_t i = 0; i < numbers->count; i++) {
        struct segment_reader r;
        enum confab_err err = segment_reader_open(&r, disk, numbers->at[i]);
        if (err == CONFAB_CORRUPT) {
            err = u64_list_add(&scan->unreadable, numbers->at[i]);
            if (err) {
                return err;
            }
            continue;
        }
        if (err) {
            return err;
        }
        struct segment *seg = calloc(1, sizeof(*seg));
        if (seg) {
            seg->number = r.head.number;
            seg->id = r.head.id;
            seg->base_lsn = r.head.base_lsn;
            seg->size = r.file_bytes;
        }
        segment_reader_close(&r);
        if (!seg || segment_list_add(&scan->segments, seg) != CONFAB_OK) {
            free(seg);
            return CONFAB_NOMEM;
        }
    }
    return CONFAB_OK;
}

/* Does the spare's file hold one of the segments? What cannot be read holds none. */
static enum confab_err is_twin(struct disk *disk, const struct scan *scan, uint64_t spare,
                               uint8_t block[LOG_BLOCK], bool *ret)
{
    char name[LOG_NAME_MAX];
    struct disk_file *file = NULL;
    struct segment_header head;
    size_t n = 0;
    log_name_format(LOG_NAME_SPARE, spare, name);
    enum confab_err err = disk_open(disk, name, DISK_READ, &file);
    if (!err) {
        err = disk_pread(file, block, LOG_BLOCK, 0, &n);
    }
    disk_close(file);
    *ret = false;
    if (err || n < LOG_BLOCK || segment_header_decode(block, &head) != CONFAB_OK) {
        return err;
    }
    for (size_t i = 0; i < scan->segments.count; i++) {
        const struct segment *seg = scan->segments.at[i];
        *ret = *ret || (seg->id == head.id && seg->number == head.number);
    }
    return CONFAB_OK;
}

static enum confab_err part_twins(struct disk *disk, struct scan *scan)
{
    uint8_t *block = malloc(LOG_BLOCK);
    enum confab_err err = block ? CONFAB_OK : CONFAB_NOMEM;
    size_t kept = 0;
    for (size_t i = 0; !err && i < scan->spares.count; i++) {
        bool twin;
        err = is_twin(disk, scan, scan->spares.at[i], block, &twin);
        if (!err && twin) {
            err = u64_list_add(&scan->twins, scan->spares.at[i]);
        } else if (!err) {
            scan->spares.at[kept++] = scan->spares.at[i];
        }
    }
    scan->spares.count = kept;
    free(block);
    return err;
}

static enum confab_err drop_superseded(struct scan *scan)
{
    struct segment_list *list = &scan->segments;
    if (list->count > 1) {
        qsort(list->at, list->count, sizeof(struct segment *), by_base);
    }
    for (size_t i = 0; i + 1 < list->count;) {
        if (list->at[i]->base_lsn != list->at[i + 1]->base_lsn) {
            i++;
            continue;
        }
        enum confab_err err = u64_list_add(&scan->superseded, list->at[i]->number);
        if (err) {
            return err;
        }
        segment_list_remove(list, i);
    }
    return CONFAB_OK;
}

enum confab_err segment_salvage(struct segment_reader *r, uint64_t target, bool verify,
                                const struct salvage *to)
{
    while (r->next_lsn < target) {
        struct batch_view view;
        enum confab_err err = segment_next(r, verify, &view);
        if (!err && r->next_lsn > target) {
            /* Two segments over the same LSNs: nothing writes that. */
            return to->on_gap(to->arg, view.offset, view.head.base_lsn, target);
        }
        if (!err) {
            err = to->on_batch(to->arg, &view);
            if (err) {
                return err;
            }
            continue;
        }
        if (err != CONFAB_EOF && err != CONFAB_CORRUPT) {
            return err;
        }
        uint64_t lsn = r->next_lsn;
        uint64_t offset = r->offset;
        err = segment_resync(r);
        if (err == CONFAB_EOF) {
            return target == UINT64_MAX ? CONFAB_OK : to->on_gap(to->arg, offset, lsn, target);
        }
        if (!err && r->next_lsn != lsn) {
            err = to->on_gap(to->arg, offset, lsn, MIN(r->next_lsn, target));
        }
        if (err) {
            return err;
        }
    }
    return CONFAB_OK;
}

struct scan_walk {
    struct segment *seg;
    struct local_log_damage *damage;
};

static enum confab_err on_scan_batch(void *arg, const struct batch_view *view)
{
    struct scan_walk *w = arg;
    segment_note(w->seg, view->head.base_lsn, view->offset);
    w->seg->kept += view->head.flags == BATCH_MARK ? 0 : batch_disk_bytes(view->head.payload_bytes);
    return CONFAB_OK;
}

static enum confab_err on_scan_gap(void *arg, uint64_t offset, uint64_t from, uint64_t to)
{
    struct scan_walk *w = arg;
    w->seg->damaged = true;
    damage_add(w->damage, w->seg->number, offset, from, to);
    return CONFAB_OK;
}

/* Walks a segment up to `target` (UINT64_MAX for the last one: up to its tail). */
static enum confab_err scan_segment(struct disk *disk, struct segment *seg, uint64_t target,
                                    bool verify, struct local_log_damage *damage)
{
    struct segment_reader r;
    enum confab_err err = segment_reader_open(&r, disk, seg->number);
    if (err) {
        return err;
    }
    struct scan_walk w = {.seg = seg, .damage = damage};
    struct salvage to = {.on_batch = on_scan_batch, .on_gap = on_scan_gap, .arg = &w};
    err = segment_salvage(&r, target, verify, &to);
    seg->end_lsn = MIN(r.next_lsn, target);
    seg->used = r.offset;
    segment_reader_close(&r);
    return err;
}

/* A segment that cannot even be placed: its neighbours by number bound what was in it. */
static enum confab_err judge_unreadable(struct disk *disk, struct scan *scan, uint64_t number)
{
    uint64_t from = LOCAL_LOG_FIRST_LSN;
    uint64_t to = UINT64_MAX;
    for (size_t i = 0; i < scan->segments.count; i++) {
        const struct segment *seg = scan->segments.at[i];
        if (seg->number < number) {
            from = MAX(from, seg->end_lsn);
        } else {
            to = MIN(to, seg->base_lsn);
        }
    }
    if (to == UINT64_MAX) {
        /* It was the newest: it cannot have held more LSNs than it has bytes. */
        char name[LOG_NAME_MAX];
        struct disk_file *file = NULL;
        uint64_t size = 0;
        log_name_format(LOG_NAME_SEGMENT, number, name);
        enum confab_err err = disk_open(disk, name, DISK_READ, &file);
        if (!err) {
            err = disk_size(file, &size);
        }
        disk_close(file);
        if (err) {
            return err;
        }
        to = MAX(from, scan->end_max) + size;
        scan->damage.open_ended = true;
        scan->end_max = to;
    }
    to = MAX(from, to);
    for (uint32_t i = 0; i < MIN(scan->damage.count, LOCAL_LOG_DAMAGE_MAX); i++) {
        const struct local_log_range *r = &scan->damage.ranges[i];
        if (r->from_lsn <= from && r->to_lsn >= to) {
            return CONFAB_OK; /* seen as a hole behind the segment before it */
        }
    }
    damage_add(&scan->damage, number, 0, from, to);
    return CONFAB_OK;
}

enum confab_err log_scan(struct disk *disk, uint64_t verify_from, struct scan *ret)
{
    *ret = (struct scan){0};
    struct names names = {.scan = ret};
    enum confab_err err = disk_list(disk, on_name, &names);
    if (err) {
        goto out;
    }
    if (names.segments.count > 1) {
        qsort(names.segments.at, names.segments.count, sizeof(uint64_t), by_value);
    }
    if (ret->spares.count > 1) {
        qsort(ret->spares.at, ret->spares.count, sizeof(uint64_t), by_value);
    }
    err = load_headers(disk, &names.segments, ret);
    if (!err) {
        err = part_twins(disk, ret);
    }
    if (!err) {
        err = drop_superseded(ret);
    }
    for (size_t i = 0; !err && i < ret->segments.count; i++) {
        bool last = i + 1 == ret->segments.count;
        uint64_t target = last ? UINT64_MAX : ret->segments.at[i + 1]->base_lsn;
        err = scan_segment(disk, ret->segments.at[i], target, last || target > verify_from,
                           &ret->damage);
    }
    for (size_t i = 0; !err && i < ret->unreadable.count; i++) {
        err = judge_unreadable(disk, ret, ret->unreadable.at[i]);
    }
out:
    free(names.segments.at);
    return err;
}
