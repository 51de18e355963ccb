/*
 * Fuzzes the reading side of the local log: the input is the content of one or two segment files.
 * The first byte: bit 0, checksums are made right, so that fields behind them are reached; bit 1,
 * two segments. Nothing may crash, a read must end, and a repaired log must open.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/local_log/local_log.h"
#include "adapters/local_log/log_format.h"
#include "adapters/mem/disk_sim.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/diag.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_MAX = 64 << 10 };

static void put_le(uint8_t *p, uint64_t v, int n)
{
    for (int i = 0; i < n; i++) {
        p[i] = (uint8_t)(v >> (8 * i));
    }
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Every block that starts like a batch gets this segment's id and right checksums. */
static void make_right(uint8_t *file, size_t n, uint64_t number)
{
    const uint64_t id = 77;
    for (size_t at = 0; at + LOG_BLOCK <= n; at += LOG_BLOCK) {
        uint8_t *p = file + at;
        if (at == 0) {
            uint64_t base = number == 1 ? 1 : get_u32(p + 32);
            struct segment_header h = {.number = number, .id = id, .base_lsn = base, .size = n};
            segment_header_encode(&h, p);
            continue;
        }
        if (p[0] >= 0x80) { /* left as payload */
            continue;
        }
        uint32_t payload = get_u32(p + 40);
        if (payload > n - at - LOG_BATCH_HEADER) {
            payload = (uint32_t)((n - at - LOG_BATCH_HEADER) % 5000);
            put_le(p + 40, payload, 4);
        }
        memcpy(p, "CLB1", 4);
        p[4] &= 3;
        p[5] &= 3;
        p[6] &= 1;
        p[7] = 0;
        put_le(p + 8, id, 8);
        put_le(p + 52, crc32c(log_segment_seed(id), p + LOG_BATCH_HEADER, payload), 4);
        put_le(p + 60, crc32c(log_segment_seed(id), p, 60), 4);
    }
}

static void store(struct disk *disk, uint64_t number, const uint8_t *data, size_t n, bool right)
{
    char name[LOG_NAME_MAX];
    struct disk_file *file = NULL;
    uint8_t *copy = malloc(n + 1);
    CHECK(copy);
    memcpy(copy, data, n);
    if (right) {
        make_right(copy, n, number);
    }
    log_name_format(LOG_NAME_SEGMENT, number, name);
    CHECK(disk_open(disk, name, DISK_WRITE | DISK_CREATE, &file) == CONFAB_OK);
    CHECK(disk_pwrite(file, copy, n, 0) == CONFAB_OK);
    disk_close(file);
    free(copy);
}

static enum confab_err on_record(void *arg, const struct log_record *rec)
{
    uint64_t *sum = arg;
    for (size_t i = 0; i < rec->data.n; i++) {
        *sum += rec->data.p[i];
    }
    return CONFAB_OK;
}

static enum confab_err on_batch(void *arg, const struct local_log_batch_info *info)
{
    uint64_t *sum = arg;
    *sum += info->records;
    return CONFAB_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 2 * FILE_MAX) {
        return 0;
    }
    diag_set_level_all(DIAG_OFF);
    struct disk_sim *sim = NULL;
    CHECK(disk_sim_new(&(struct disk_sim_config){.capacity_bytes = 32U << 20}, &sim) == CONFAB_OK);
    struct disk *disk = disk_sim_disk(sim);
    bool right = data[0] & 1;
    size_t first = data[0] & 2 ? size / 2 / LOG_BLOCK * LOG_BLOCK : size - 1;
    store(disk, 1, data + 1, first, right);
    if (data[0] & 2) {
        store(disk, 2, data + 1 + first, size - 1 - first, right);
    }
    uint64_t sum = 0;
    struct local_log *log = NULL;
    enum confab_err err = local_log_open_readonly(disk, clock_system(), &log);
    if (!err) {
        (void)!log_store_read(local_log_store(log), 0, on_record, &sum);
        (void)!local_log_inspect(log, on_batch, &sum);
        local_log_close(log);
        struct local_log_damage damage;
        err = local_log_repair(disk, clock_system(), false, &damage);
        CHECK(err == CONFAB_OK);
        struct random_seeded ids;
        random_seeded_init(&ids, 1);
        struct local_log_config config = {
            .segment_bytes = LOCAL_LOG_SEGMENT_BYTES_MIN, .lanes = 1, .random = &ids.base};
        CHECK(local_log_open(&config, disk, clock_system(), &log) == CONFAB_OK);
        (void)!log_store_read(local_log_store(log), 0, on_record, &sum);
        local_log_close(log);
    } else {
        CHECK(err == CONFAB_VERSION);
    }
    disk_sim_free(sim);
    return 0;
}
