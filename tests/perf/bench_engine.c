/*
 * Cost of one message in the core alone: command, decide, log encoding, fold, publication, answer,
 * over the log and store in memory, so that neither disk nor sockets are in the figure. Prints
 * nanoseconds per message; run it under callgrind for instructions. Usage: bench_engine [messages]
 * [conversations] [batch]
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "adapters/mem/executor_inline.h"
#include "adapters/mem/log_mem.h"
#include "adapters/mem/store_mem.h"
#include "base/check.h"
#include "core/engine.h"

struct bench {
    struct engine_host host;
    struct engine *e;
    uint64_t completed;
    uint64_t published;
};

static void on_complete(struct engine_host *host, struct command *cmd)
{
    struct bench *b = CONTAINER_OF(host, struct bench, host);
    if (cmd->type == COMMAND_FOLLOWUP) {
        engine_followup_done(b->e, cmd);
        return;
    }
    CHECK(cmd->err == CONFAB_OK);
    b->completed++;
    command_free(cmd);
}

static void on_publish(struct engine_host *host, const struct publication *pub)
{
    CONTAINER_OF(host, struct bench, host)->published += pub->members->n;
}

static void on_receipt(struct engine_host *host, const struct receipt *r)
{
    (void)host;
    (void)r;
}

static enum confab_err on_send(struct engine_host *host, struct command *cmd)
{
    engine_submit(CONTAINER_OF(host, struct bench, host)->e, cmd);
    return CONFAB_OK;
}

static void on_wake(struct engine_host *host)
{
    (void)host;
}

static const struct engine_host_ops ops = {on_complete, on_publish, on_receipt, on_send, on_wake};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
    uint64_t messages = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000;
    uint64_t convs = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000;
    uint64_t batch = argc > 3 ? strtoull(argv[3], NULL, 10) : 16;
    struct bench b = {.host = {&ops}};
    struct engine_config cfg;
    struct engine_shared shared = {0};
    struct metrics *metrics = calloc(1, sizeof(*metrics));
    struct executor *ex;
    struct message_store *store;
    struct log_mem *log;
    engine_config_defaults(&cfg);
    CHECK(metrics);
    CHECK(!executor_inline_open(false, 100000, &ex));
    CHECK(!store_mem_open((struct store_mem_cfg){false}, ex, &store));
    CHECK(!log_mem_new(&(struct log_mem_config){.lanes = 1}, &log));
    CHECK(!engine_new(&cfg, &b.host, &shared, log_mem_store(log), store, NULL, clock_system(),
                      metrics, &b.e));
    char text[61];
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        text[i] = (char)('a' + i % 26);
    }
    text[60] = 0;
    double start = 0;
    for (uint64_t n = 0; n < messages + convs; n++) {
        if (n == convs) {
            start = now();
        }
        struct command *cmd = command_new(COMMAND_EVENT);
        CHECK(cmd);
        cmd->actor = 1 + n % convs;
        cmd->peer = 1000000 + n % convs;
        cmd->in.kind = EVENT_MESSAGE;
        cmd->fresh = true;
        char key[40];
        int k = snprintf(key, sizeof(key), "0123456789abcdef-%llu", (unsigned long long)n);
        CHECK(!command_set_span(cmd, &cmd->in.cmid, span_of(key, (size_t)k)));
        CHECK(!command_set_span(cmd, &cmd->in.text, span_of(text, 60)));
        engine_submit(b.e, cmd);
        if (n % batch == batch - 1) {
            engine_seal(b.e);
            log_mem_step(log, 1000);
            engine_poll(b.e);
            engine_tick(b.e);
        }
    }
    while (b.completed < messages + convs) {
        engine_seal(b.e);
        log_mem_step(log, 1000);
        engine_poll(b.e);
        engine_tick(b.e);
    }
    double ns = (now() - start) / (double)messages;
    printf("%llu messages in %llu conversations, %llu a turn: %.0f ns a message\n",
           (unsigned long long)messages, (unsigned long long)convs, (unsigned long long)batch, ns);
    engine_free(b.e);
    log_mem_free(log);
    store_mem_close(store);
    executor_inline_close(ex);
    free(metrics);
    return 0;
}
