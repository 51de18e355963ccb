/*
 * Options of confabd: the rows of config.def as a struct, and how they are read. Later sources win:
 * defaults, the file, the environment, flags.
 */
#ifndef CONFAB_CONFABD_CONFIG_H
#define CONFAB_CONFABD_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct config {
#define OPT_TEXT(field, name, def, bytes_max, doc) char field[(bytes_max) + 1];
#define OPT_COUNT(field, name, def, min, max, doc) uint64_t field;
#define OPT_BYTES(field, name, def, min, max, doc) uint64_t field;
#define OPT_MS(field, name, def, min, max, doc)    uint64_t field;
#define OPT_BOOL(field, name, def, doc)            bool field;
#include "confabd/config.def"
};

/* One line for people: what is wrong with an option and what would be right. */
struct config_problem {
    char text[512];
};

void config_defaults(struct config *cfg);
/*
 * Sets one option by its name. On an error `cfg` is as before and `why` says what is wrong:
 * CONFAB_NOT_FOUND for an unknown name, CONFAB_INVALID for a bad value.
 */
CONFAB_NODISCARD enum confab_err config_set(struct config *cfg, const char *name, const char *value,
                                            struct config_problem *why);
/* Lines of `name = value`; `#` starts a comment; a value may stand in double quotes. */
CONFAB_NODISCARD enum confab_err config_read_file(struct config *cfg, const char *path,
                                                  struct config_problem *why);
/* The CONFAB_<NAME> of `environment` (NULL-terminated); variables of other names are left alone. */
CONFAB_NODISCARD enum confab_err
config_read_environment(struct config *cfg, char *const *environment, struct config_problem *why);
/*
 * Reads file, environment and flags (`--name value`, `--name=value`, a BOOL also as `--name`
 * alone), then checks what options say together. Flags that only name the file are taken: --config
 * FILE or CONFAB_CONFIG. Arguments that are no flags are an error.
 */
CONFAB_NODISCARD enum confab_err config_read(struct config *cfg, int argc, char *const *argv,
                                             char *const *environment, struct config_problem *why);

/* What single rows cannot say. CONFAB_INVALID. */
CONFAB_NODISCARD enum confab_err config_check(const struct config *cfg, struct config_problem *why);

/* The list of options for --help. */
void config_put_help(struct buf *out);
/* Every option as `name = value`, as a file of --config has them. */
void config_put(struct buf *out, const struct config *cfg);

#endif
