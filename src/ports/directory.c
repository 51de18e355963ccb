/* What all adapters of the directory port share. */
#include "ports/directory.h"

#include <stdlib.h>

void dir_request_deinit(struct dir_request *req)
{
    free(req->ret_devices);
    req->ret_devices = NULL;
    req->ret_ndevices = 0;
    if (req->rows_owned) {
        free(req->conv_rows);
        req->conv_rows = NULL;
        req->nconv_rows = 0;
        req->rows_owned = false;
    }
}
