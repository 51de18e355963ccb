/* Small files of this folder, mode 0600, there in full or as they were. Private to it. */
#ifndef CONFAB_ADAPTERS_ACME_ACME_FILES_H
#define CONFAB_ADAPTERS_ACME_ACME_FILES_H

#include "base/buf.h"
#include "base/err.h"

#define ACME_FILE_MAX 65536U

/* CONFAB_NOT_FOUND, CONFAB_IO, CONFAB_TOO_LARGE, CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err acme_file_get(const char *path, struct buf *ret);
/* CONFAB_IO, logged. */
CONFAB_NODISCARD enum confab_err acme_file_put(const char *path, struct span data);
/* Gone, or was not there. */
void acme_file_remove(const char *path);

#endif
