/*
 * Cost and gain of compression on the wire, and of arrays for who reads them. For texts of some
 * lengths: bytes of the event's frame, bytes compressed with each window, and the time of it; then
 * for a page of 50 events; then the parsing of 50 events, each by itself and as one array.
 * Usage: bench_deflate FILE [rounds] [part], FILE with lines of `time<tab>nick<tab>text`
 * (tests/data/sample.tsv). With a part (narrow, middle, wide, inflate, frames, array) only that is
 * done, on events of 1,000 bytes of text, to be counted by callgrind.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "proto/deflate.h"
#include "proto/wire.h"

#define EVENTS 50U
#define LIMIT  (1U << 20)

static const char *const WINDOWS[DEFLATE_SIZES] = {"narrow", "middle", "wide"};
static const char *part;
static char *words; /* all texts of the file, one behind the other */
static size_t nwords;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static bool is_on(const char *name)
{
    return !part || strcmp(part, name) == 0;
}

static void load(const char *path)
{
    char line[20000];
    FILE *f = fopen(path, "r");
    CHECK(f);
    while (fgets(line, sizeof(line), f)) {
        char *text = strrchr(line, '\t');
        CHECK(text);
        size_t n = strcspn(text + 1, "\n");
        words = realloc(words, nwords + n + 1);
        CHECK(words);
        memcpy(words + nwords, text + 1, n);
        words[nwords + n] = ' ';
        nwords += n + 1;
    }
    fclose(f);
    CHECK(nwords > 4100);
}

static void put_event(struct buf *b, uint64_t i, size_t n)
{
    struct wire_new_message m = {.at = {.conv = {0x0123456789abcdefULL, 0xfedcba9876543210ULL},
                                        .seq = 1000 + i,
                                        .event_id = (1ULL << 61) + i * 8191,
                                        .sent_at_ms = 1760000000000ULL + i * 7777,
                                        .from = 4815162342ULL + i % 7},
                                 .type = span_str("text")};
    size_t at = (size_t)(i * 977) % (nwords - n);
    while (at > 0 && ((uint8_t)words[at] & 0xc0) == 0x80) {
        at--;
    }
    while (n > 0 && ((uint8_t)words[at + n] & 0xc0) == 0x80) {
        n--;
    }
    m.content = span_of(words + at, n);
    wire_put_new_message(b, &m);
}

static void compress(size_t text, bool page, uint64_t rounds)
{
    struct buf events[EVENTS] = {0};
    size_t plain = 0;
    uint32_t nevents = page ? 1 : EVENTS;
    for (uint32_t i = 0; i < EVENTS; i++) {
        put_event(&events[page ? 0 : i], i, text);
    }
    for (uint32_t i = 0; i < nevents; i++) {
        plain += events[i].len;
    }
    printf("%s of %zu bytes:", page ? "page" : "event", plain / nevents);
    for (int w = 0; w < DEFLATE_SIZES; w++) {
        struct deflater *d;
        struct inflater *z;
        struct buf out = {0};
        struct buf back = {0};
        size_t packed = 0;
        CHECK(!deflater_new((enum deflate_size)w, &d) && !inflater_new(&z));
        double t0 = now();
        for (uint64_t r = 0; is_on(WINDOWS[w]) && r < rounds; r++) {
            const struct buf *e = &events[r % nevents];
            buf_clear(&out);
            enum confab_err err = deflate_message(d, span_of(e->data, e->len), &out);
            packed += err ? e->len : out.len;
        }
        double t1 = now();
        if (is_on(WINDOWS[w])) {
            printf("  %s %.0f bytes, %.1f us", WINDOWS[w], (double)packed / (double)rounds,
                   (t1 - t0) / 1000 / (double)rounds);
        }
        if (w == DEFLATE_WIDE && is_on("inflate")) {
            buf_clear(&out);
            CHECK(!deflate_message(d, span_of(events[0].data, events[0].len), &out) || part);
            t0 = now();
            for (uint64_t r = 0; out.len > 0 && r < rounds; r++) {
                CHECK(!inflate_message(z, span_of(out.data, out.len), LIMIT, &back));
            }
            printf("  inflate %.1f us", (now() - t0) / 1000 / (double)rounds);
        }
        deflater_free(d);
        inflater_free(z);
        buf_deinit(&out);
        buf_deinit(&back);
    }
    printf("\n");
    for (uint32_t i = 0; i < EVENTS; i++) {
        buf_deinit(&events[i]);
    }
}

static void parse(struct span text)
{
    static uint8_t block[65536];
    struct scratch scratch;
    struct wire_server_msg m;
    struct wire_error why;
    scratch_init(&scratch, block, sizeof(block));
    CHECK(!wire_parse_server(text, &scratch, &m, &why) && m.event == WIRE_S_NEW_MESSAGE);
}

static void read_events(size_t text, uint64_t rounds)
{
    static struct json it;
    struct buf array = {0};
    struct span one[EVENTS];
    buf_put_u8(&array, '[');
    for (uint32_t i = 0; i < EVENTS; i++) {
        put_event(&array, i, text);
        buf_put_u8(&array, i + 1 < EVENTS ? ',' : ']');
    }
    CHECK(buf_ok(&array));
    uint32_t n = 0;
    json_init(&it, span_of(array.data, array.len), NULL);
    json_array_begin(&it);
    while (json_array_next(&it) && json_raw(&it, &one[n])) {
        n++;
    }
    CHECK(n == EVENTS);
    double t0 = now();
    for (uint64_t r = 0; is_on("frames") && r < rounds; r++) {
        for (n = 0; n < EVENTS; n++) {
            parse(one[n]);
        }
    }
    double t1 = now();
    for (uint64_t r = 0; is_on("array") && r < rounds; r++) {
        struct span each;
        json_init(&it, span_of(array.data, array.len), NULL);
        json_array_begin(&it);
        while (json_array_next(&it) && json_raw(&it, &each)) {
            parse(each);
        }
    }
    double t2 = now();
    double per = (double)(rounds * EVENTS);
    printf("parsing an event of %zu bytes: %.0f ns in a frame of its own, %.0f ns in an array\n",
           array.len / EVENTS, (t1 - t0) / per, (t2 - t1) / per);
    buf_deinit(&array);
}

int main(int argc, char **argv)
{
    static const size_t lengths[] = {60, 300, 1000, 4000};
    CHECK(argc > 1);
    uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 20000;
    part = argc > 3 ? argv[3] : NULL;
    load(argv[1]);
    for (size_t i = part ? 2 : 0; i < (part ? 3 : ARRAY_LEN(lengths)); i++) {
        compress(lengths[i], false, rounds);
    }
    if (!part) {
        compress(60, true, rounds / 20);
        compress(300, true, rounds / 20);
    }
    read_events(60, rounds / EVENTS);
    free(words);
    return 0;
}
