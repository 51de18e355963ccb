#include "faults.h"

#include <inttypes.h>

#include "ports.h"

/* A day's keys must stay known for seven days: jumps stay well below. */
#define JUMPS_MAX_MS (3ULL * 86400000)

void faults_end(struct sim *s)
{
    s->ports->store.failing = false;
    disk_sim_set_capacity(s->ports->disk, 0);
    disk_sim_heal(s->ports->disk);
}

void faults_draw(struct sim *s)
{
    const struct sim_features *f = &s->features;
    struct ports *p = s->ports;
    switch (sim_below(s, 8)) {
    case 0:
        if (f->disk_full) {
            struct log_stats st;
            log_store_stats(&p->log.base, &st);
            disk_sim_set_capacity(p->disk, st.segments * f->segment_bytes + sim_below(s, 3000));
            sim_trace(s, "disk full");
        }
        break;
    case 1:
        if (f->sync_fails && sim_one_in(s, 3)) {
            disk_sim_fail(p->disk, DISK_OP_SYNC, 1 + sim_below(s, 6), 1, CONFAB_IO);
            sim_trace(s, "a sync will fail");
        }
        break;
    case 2:
        if (f->store_fails) {
            p->store.failing = true;
            sim_trace(s, "store fails");
        }
        break;
    case 3:
        disk_sim_halt_after(p->disk, sim_below(s, 60));
        break;
    case 4:
        if (f->clock_jumps) {
            uint64_t now = clock_wall_ms(&s->clock.base);
            uint64_t by = ONE_OF(s, 50, 2000, 60000, 40000000);
            bool back = sim_one_in(s, 2);
            if (back || s->jumped_ms + by < JUMPS_MAX_MS) {
                s->jumped_ms += back ? 0 : by;
                clock_sim_set_wall(&s->clock, back ? now - by : now + by);
                sim_trace(s, "clock jumps %s %" PRIu64, back ? "back" : "on", by);
            }
        }
        break;
    default:
        faults_end(s);
        break;
    }
}
