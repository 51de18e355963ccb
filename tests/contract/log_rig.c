#include "log_rig.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapters/os/disk_os.h"
#include "base/check.h"

static void on_wake(void *arg)
{
    struct rig *rig = arg;
    pthread_mutex_lock(&rig->mu);
    rig->wakes++;
    pthread_cond_broadcast(&rig->cond);
    pthread_mutex_unlock(&rig->mu);
}

static void open_local(struct rig *rig)
{
    struct local_log_config config = {
        .segment_bytes = RIG_SEGMENT,
        .lanes = RIG_LANES,
        .queue_bytes_max = rig->queue_bytes_max,
        .batch_bytes_max = 8 << 10,
        .zero_spares = true,
        .random = &rig->random.base,
    };
    CHECK(local_log_open(&config, rig->disk, clock_system(), &rig->local) == CONFAB_OK);
    rig->log = local_log_store(rig->local);
    if (rig->kind == RIG_FAULT_LOCAL) {
        CHECK(log_fault_new(rig->log, RIG_LANES, &rig->fault) == CONFAB_OK);
        rig->log = log_fault_store(rig->fault);
    }
    for (uint16_t i = 0; i < RIG_LANES; i++) {
        log_store_set_wake(rig->log, i, on_wake, rig);
    }
    if (rig->kind == RIG_LOCAL_OS) {
        CHECK(local_log_start_thread(rig->local) == CONFAB_OK);
    }
}

void rig_init(struct rig *rig, enum rig_kind kind, uint64_t queue_bytes_max)
{
    *rig = (struct rig){.kind = kind, .queue_bytes_max = queue_bytes_max};
    pthread_mutex_init(&rig->mu, NULL);
    pthread_cond_init(&rig->cond, NULL);
    random_seeded_init(&rig->random, 7);
    switch (kind) {
    case RIG_MEM:
        CHECK(log_mem_new(
                  &(struct log_mem_config){.lanes = RIG_LANES, .queue_bytes_max = queue_bytes_max},
                  &rig->mem) == CONFAB_OK);
        rig->log = log_mem_store(rig->mem);
        for (uint16_t i = 0; i < RIG_LANES; i++) {
            log_store_set_wake(rig->log, i, on_wake, rig);
        }
        return;
    case RIG_LOCAL_OS:
        snprintf(rig->dir, sizeof(rig->dir), "/tmp/confab-log-XXXXXX");
        CHECK(mkdtemp(rig->dir));
        CHECK(disk_os_open(rig->dir, &rig->disk) == CONFAB_OK);
        break;
    case RIG_LOCAL_SIM:
    case RIG_FAULT_LOCAL:
        CHECK(disk_sim_new(&(struct disk_sim_config){0}, &rig->sim) == CONFAB_OK);
        rig->disk = disk_sim_disk(rig->sim);
        break;
    }
    open_local(rig);
}

static void close_local(struct rig *rig)
{
    if (rig->fault) {
        log_fault_free(rig->fault);
        rig->fault = NULL;
    }
    local_log_close(rig->local);
    rig->local = NULL;
}

void rig_reopen(struct rig *rig)
{
    if (rig->kind == RIG_MEM) {
        log_mem_crash(rig->mem);
    } else {
        close_local(rig);
        open_local(rig);
    }
}

void rig_deinit(struct rig *rig)
{
    close_local(rig);
    log_mem_free(rig->mem);
    disk_sim_free(rig->sim);
    if (rig->kind == RIG_LOCAL_OS) {
        disk_os_close(rig->disk);
        DIR *dir = opendir(rig->dir);
        CHECK(dir);
        for (struct dirent *e; (e = readdir(dir));) {
            if (e->d_name[0] != '.') {
                unlinkat(dirfd(dir), e->d_name, 0);
            }
        }
        closedir(dir);
        rmdir(rig->dir);
    }
    pthread_cond_destroy(&rig->cond);
    pthread_mutex_destroy(&rig->mu);
}

bool rig_is_stepped(const struct rig *rig)
{
    return rig->kind != RIG_LOCAL_OS;
}

struct log_submission *rig_await(struct rig *rig, uint16_t lane)
{
    for (;;) {
        pthread_mutex_lock(&rig->mu);
        uint64_t wakes = rig->wakes;
        pthread_mutex_unlock(&rig->mu);
        struct log_submission *sub = log_store_poll(rig->log, lane);
        if (sub) {
            return sub;
        }
        if (rig->kind == RIG_MEM) {
            CHECK(log_mem_step(rig->mem, 1) == 1);
        } else if (rig_is_stepped(rig)) {
            bool did_work = false;
            enum confab_err err = local_log_step(rig->local, &did_work);
            CHECK(did_work || err);
        } else {
            pthread_mutex_lock(&rig->mu);
            while (rig->wakes == wakes) {
                pthread_cond_wait(&rig->cond, &rig->mu);
            }
            pthread_mutex_unlock(&rig->mu);
        }
    }
}

struct log_submission *sub_new(uint16_t lane, uint16_t partition, uint32_t count, uint32_t size,
                               uint64_t tag)
{
    struct log_submission *sub = calloc(1, sizeof(*sub));
    uint8_t *data = calloc(1, (size_t)size + 8);
    CHECK(sub && data);
    sub->lane = lane;
    for (uint32_t i = 0; i < count; i++, tag++) {
        memset(data, (int)(tag * 31 & 0xff), size);
        memcpy(data, &tag, sizeof(tag) < size ? sizeof(tag) : size);
        uint32_t offset = 0;
        CHECK(log_submission_add(sub, partition, (uint8_t)(tag & 0x7f), 1, span_of(data, size),
                                 &offset) == CONFAB_OK);
    }
    free(data);
    return sub;
}

void sub_free(struct log_submission *sub)
{
    if (sub) {
        buf_deinit(&sub->bytes);
        free(sub);
    }
}

static enum confab_err on_record(void *arg, const struct log_record *rec)
{
    struct seen *seen = arg;
    if (seen->count == seen->cap) {
        seen->cap = seen->cap ? seen->cap * 2 : 64;
        seen->at = realloc(seen->at, seen->cap * sizeof(*seen->at));
        CHECK(seen->at);
    }
    struct seen_record *r = &seen->at[seen->count++];
    *r = (struct seen_record){
        .lsn = rec->lsn, .size = (uint32_t)rec->data.n, .partition = rec->partition};
    memcpy(&r->tag, rec->data.p, MIN(sizeof(r->tag), rec->data.n));
    CHECK(rec->version == 1 && rec->kind == (r->tag & 0x7f));
    for (size_t i = sizeof(r->tag); i < rec->data.n; i++) {
        CHECK(rec->data.p[i] == (uint8_t)(r->tag * 31));
    }
    return CONFAB_OK;
}

enum confab_err seen_read(struct seen *seen, struct log_store *log, uint64_t from)
{
    seen->count = 0;
    return log_store_read(log, from, on_record, seen);
}

void seen_free(struct seen *seen)
{
    free(seen->at);
    *seen = (struct seen){0};
}
