/* Two panels as SVG: latency by quantile of all rounds together, and messages/s round by round. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

#define WIDTH  820.0
#define HEIGHT 360.0
#define LEFT   60.0
#define TOP    50.0
#define PANEL  320.0 /* width of each */
#define GAP    90.0
#define TALL   250.0
#define NINES  4 /* 90, 99, 99.9 and 99.99 % */
#define STEPS  60

struct axis {
    double low; /* decades */
    double high;
};

static double ms_at(const struct hist *h, double q)
{
    return (double)hist_quantile(h, q) / 1e6;
}

static struct hist *together(const struct round *rounds, uint32_t n)
{
    struct meters *sum = bench_alloc(sizeof(*sum));
    struct hist *h = bench_alloc(sizeof(*h));
    for (uint32_t i = 0; i < n; i++) {
        meters_add(sum, &rounds[i].m);
    }
    *h = sum->delivery_ns;
    free(sum);
    return h;
}

static double y_of(const struct axis *a, double ms)
{
    double decade = ms > 0 ? log10(ms) : a->low;
    double at = (fmin(fmax(decade, a->low), a->high) - a->low) / (a->high - a->low);
    return TOP + TALL * (1 - at);
}

static void line(FILE *f, const struct axis *a, const struct hist *h, const char *colour)
{
    (void)fprintf(f, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"", colour);
    for (int i = 0; i <= STEPS; i++) {
        double nines = (double)NINES * i / STEPS;
        double q = 1 - pow(10, -nines);
        (void)fprintf(f, "%.1f,%.1f ", LEFT + PANEL * i / STEPS, y_of(a, ms_at(h, q)));
    }
    (void)fprintf(f, "\"/>\n");
}

static void text(FILE *f, double x, double y, const char *anchor, const char *what)
{
    (void)fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor,
                  what);
}

static void latency_panel(FILE *f, const struct hist *ours, const struct hist *floor)
{
    static const char *const LABELS[NINES + 1] = {"0", "90 %", "99 %", "99.9 %", "99.99 %"};
    double most = fmax(ms_at(ours, 1), floor ? ms_at(floor, 1) : 0);
    struct axis a = {-2, fmax(1, ceil(log10(fmax(most, 0.1))))};
    text(f, LEFT, TOP - 14, "start", "send to delivery, ms, by quantile");
    for (double d = a.low; d <= a.high; d += 1) {
        char label[32];
        double y = y_of(&a, pow(10, d));
        (void)snprintf(label, sizeof(label), "%g", pow(10, d));
        (void)fprintf(f, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"g\"/>\n",
                      LEFT, y, LEFT + PANEL, y);
        text(f, LEFT - 6, y + 4, "end", label);
    }
    for (int i = 0; i <= NINES; i++) {
        text(f, LEFT + PANEL * i / NINES, TOP + TALL + 18, "middle", LABELS[i]);
    }
    if (floor) {
        line(f, &a, floor, "#9a9a9a");
    }
    line(f, &a, ours, "#1f6feb");
}

static void rate_panel(FILE *f, const struct round *rounds, const struct round *floors, uint32_t n)
{
    double x0 = LEFT + PANEL + GAP;
    double most = 1;
    for (uint32_t i = 0; i < n; i++) {
        most = fmax(most, (double)rounds[i].m.complete / rounds[i].seconds);
        most = fmax(most, floors ? (double)floors[i].m.complete / floors[i].seconds : 0);
    }
    char label[32];
    text(f, x0, TOP - 14, "start", "messages/s by round");
    (void)snprintf(label, sizeof(label), "%.0f", most);
    text(f, x0 - 6, TOP + 4, "end", label);
    text(f, x0 - 6, TOP + TALL + 4, "end", "0");
    double each = PANEL / n;
    for (uint32_t i = 0; i < n; i++) {
        double bar = floors ? each * 0.35 : each * 0.7;
        double ours = (double)rounds[i].m.complete / rounds[i].seconds / most * TALL;
        (void)fprintf(
            f, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"#1f6feb\"/>\n",
            x0 + each * i + each * 0.15, TOP + TALL - ours, bar, ours);
        if (floors) {
            double floor = (double)floors[i].m.complete / floors[i].seconds / most * TALL;
            (void)fprintf(
                f,
                "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"#9a9a9a\"/>\n",
                x0 + each * i + each * 0.15 + bar, TOP + TALL - floor, bar, floor);
        }
    }
}

bool plot_write(const char *path, const char *title, const struct round *rounds,
                const struct round *floors, uint32_t n)
{
    FILE *f = fopen(path, "we");
    if (!f) {
        return false;
    }
    struct hist *ours = together(rounds, n);
    struct hist *floor = floors ? together(floors, n) : NULL;
    (void)fprintf(f,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
                  "font-family=\"sans-serif\" font-size=\"12\">\n"
                  "<style>.g{stroke:#ddd}</style>\n"
                  "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
                  WIDTH, HEIGHT);
    text(f, LEFT, 18, "start", title);
    text(f, WIDTH - 20, 18, "end", floors ? "blue: confabd, grey: floor" : "");
    latency_panel(f, ours, floor);
    rate_panel(f, rounds, floors, n);
    (void)fprintf(f, "</svg>\n");
    free(ours);
    free(floor);
    bool ok = ferror(f) == 0;
    return fclose(f) == 0 && ok;
}
