/*
 * Prints docs/configuration.md from the table of options, src/confabd/config.def: see
 * tools/make-options-page.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

static const char HEAD[] =
    "# Configuration\n"
    "\n"
    "`confabd` needs none. Each option can be given as a flag (`--cache-bytes 128M`), in the "
    "environment\n"
    "(`CONFAB_CACHE_BYTES=128M`) or in a file named by `--config FILE` or `CONFAB_CONFIG` (lines "
    "of\n"
    "`cache-bytes = 128M`; `#` starts a comment). Flags win over the environment, the environment "
    "over\n"
    "the file. Sizes take `k`, `M` and `G` (1,024 each), times `ms`, `s`, `min` and `h`; a switch "
    "is\n"
    "`true` or `false`, and as a flag it may stand alone. An unknown option or a value out of "
    "bounds stops\n"
    "the start with one line that names it.\n"
    "\n"
    "`confabd check` with the same options says what they come to, looks at the certificate and at "
    "the\n"
    "data directory, and starts and makes nothing: exit code 0 when all is well, 1 when something "
    "is\n"
    "not, 2 for an option that is wrong.\n"
    "\n"
    "<!-- Made by tools/make-options-page from src/confabd/config.def. -->\n"
    "\n"
    "| option | default | bounds | what it does |\n"
    "| --- | --- | --- | --- |\n";

struct unit {
    const char *name;
    uint64_t factor;
};
static const struct unit BYTES[] = {{"G", 1U << 30}, {"M", 1U << 20}, {"k", 1U << 10}, {"", 1}};
static const struct unit TIMES[] = {
    {"h", 3600000}, {"min", 60000}, {"s", 1000}, {"ms", 1}, {"", 1}};
static const struct unit COUNTS[] = {{"", 1}};

/* In its largest unit that divides it. */
static void number(const struct unit *u, uint64_t value)
{
    while (u->factor > 1 && (value == 0 || value % u->factor != 0)) {
        u++;
    }
    printf("%" PRIu64 "%s", value / u->factor, u->name);
}

static void doc(const char *text)
{
    for (; *text; text++) {
        printf(*text == '<' || *text == '>' || *text == '|' ? "\\%c" : "%c", *text);
    }
    printf(" |\n");
}

static void row_text(const char *name, const char *def, unsigned max, const char *text)
{
    printf("| `--%s` | %s%s%s | up to %u bytes | ", name, *def ? "`" : "", def, *def ? "`" : "",
           max);
    doc(text);
}

static void row_number(const struct unit *u, const char *name, uint64_t def, uint64_t min,
                       uint64_t max, const char *text)
{
    printf("| `--%s` | `", name);
    number(u, def);
    printf("` | ");
    number(u, min);
    printf(" to ");
    number(u, max);
    printf(" | ");
    doc(text);
}

static void row_switch(const char *name, int def, const char *text)
{
    printf("| `--%s` | `%s` | | ", name, def ? "true" : "false");
    doc(text);
}

#define OPT_TEXT(field, name, def, max, text)       row_text(name, def, max, text);
#define OPT_COUNT(field, name, def, min, max, text) row_number(COUNTS, name, def, min, max, text);
#define OPT_BYTES(field, name, def, min, max, text) row_number(BYTES, name, def, min, max, text);
#define OPT_MS(field, name, def, min, max, text)    row_number(TIMES, name, def, min, max, text);
#define OPT_BOOL(field, name, def, text)            row_switch(name, def, text);

int main(void)
{
    fputs(HEAD, stdout);
#include "confabd/config.def"
    return fflush(stdout) == 0 ? 0 : 1;
}
