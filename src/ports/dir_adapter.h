/* What the adapters of the directory port share. For adapters of directory only. */
#ifndef CONFAB_PORTS_DIR_ADAPTER_H
#define CONFAB_PORTS_DIR_ADAPTER_H

#include "ports/directory.h"

/* True for the operations that change something. */
bool dir_op_writes(enum dir_op op);
/*
 * CONFAB_INVALID: an unknown operation, an id or number outside 63 bits, text that is empty where
 * it must not be or not zero terminated in its array, a limit of zero, no such partition.
 */
CONFAB_NODISCARD enum confab_err dir_request_check(const struct dir_request *req);

/* Drops earlier results, so that a request can be run again. */
void dir_results_clear(struct dir_request *req);
/* Append to the results, growing them. CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err dir_results_add_device(struct dir_request *req,
                                                        const struct dir_device *device);
CONFAB_NODISCARD enum confab_err dir_results_add_row(struct dir_request *req,
                                                     const struct dir_conv_row *row);

#endif
