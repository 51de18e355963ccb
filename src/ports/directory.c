/* The results of directory requests: made by the adapters, freed by the caller. */
#include "ports/directory.h"

#include <stdlib.h>
#include <string.h>

#include "ports/dir_adapter.h"

enum { RESULTS_MIN = 8 };

void dir_request_deinit(struct dir_request *req)
{
    free(req->ret_devices);
    free(req->ret_accounts);
    free(req->ret_names);
    free(req->ret_invites);
    free(req->ret_audits);
    free(req->ret_hidden);
    free(req->ret_ids);
    free(req->ret_text);
    req->ret_devices = NULL;
    req->ret_accounts = NULL;
    req->ret_names = NULL;
    req->ret_invites = NULL;
    req->ret_audits = NULL;
    req->ret_hidden = NULL;
    req->ret_ids = NULL;
    req->ret_text = NULL;
    req->ret_ndevices = 0;
    req->ret_naccounts = 0;
    req->ret_nnames = 0;
    req->ret_ninvites = 0;
    req->ret_naudits = 0;
    req->ret_nhidden = 0;
    req->ret_nids = 0;
    req->ret_text_len = 0;
    if (req->rows_owned) {
        free(req->conv_rows);
        req->conv_rows = NULL;
        req->nconv_rows = 0;
        req->rows_owned = false;
    }
}

void dir_results_clear(struct dir_request *req)
{
    dir_request_deinit(req);
    req->ret_rotated = DIR_ROTATED;
    req->ret_claim = DIR_CLAIMED;
    req->ret_more = false;
    req->ret_count = 0;
    req->ret_after_key[0] = 0;
    req->ret_after_id = 0;
    if (req->op == DIR_CONVERSATIONS_LIST) {
        req->conv_rows = NULL;
        req->nconv_rows = 0;
    }
}

/*
 * Appends one of `size` bytes to *array, which holds *n: the array's room is the next power of two,
 * and grows when that is full.
 */
static enum confab_err append(void **array, uint32_t *n, const void *one, size_t size)
{
    bool full = *n == 0 || (*n >= RESULTS_MIN && (*n & (*n - 1)) == 0);
    if (full) {
        void *all = realloc(*array, (*n == 0 ? (size_t)RESULTS_MIN : (size_t)*n * 2) * size);
        if (!all) {
            return CONFAB_NOMEM;
        }
        *array = all;
    }
    memcpy((uint8_t *)*array + *n * size, one, size);
    ++*n;
    return CONFAB_OK;
}

/* The array's own type is kept while `append` sees bytes. */
#define APPEND(array, n, one)                                                                      \
    void *all_ = (array);                                                                          \
    enum confab_err err_ = append(&all_, &(n), (one), sizeof(*(array)));                           \
    (array) = all_;                                                                                \
    return err_

enum confab_err dir_results_add_device(struct dir_request *req, const struct dir_device *device)
{
    APPEND(req->ret_devices, req->ret_ndevices, device);
}

enum confab_err dir_results_add_account(struct dir_request *req, const struct dir_account *account)
{
    APPEND(req->ret_accounts, req->ret_naccounts, account);
}

enum confab_err dir_results_add_name(struct dir_request *req, const struct dir_account *account)
{
    struct dir_name name = {.user_id = account->user_id, .status = account->status};
    memcpy(name.username, account->username, sizeof(name.username));
    memcpy(name.display_name, account->display_name, sizeof(name.display_name));
    APPEND(req->ret_names, req->ret_nnames, &name);
}

enum confab_err dir_results_add_invite(struct dir_request *req, const struct dir_invite *invite)
{
    APPEND(req->ret_invites, req->ret_ninvites, invite);
}

enum confab_err dir_results_set_text(struct dir_request *req, const void *text, size_t n)
{
    char *copy = malloc(n + 1);
    if (!copy) {
        return CONFAB_NOMEM;
    }
    if (n > 0) {
        memcpy(copy, text, n);
    }
    copy[n] = 0;
    free(req->ret_text);
    req->ret_text = copy;
    req->ret_text_len = (uint32_t)n;
    return CONFAB_OK;
}

enum confab_err dir_results_add_audit(struct dir_request *req, const struct dir_audit *audit)
{
    APPEND(req->ret_audits, req->ret_naudits, audit);
}

enum confab_err dir_results_add_hidden(struct dir_request *req, const struct dir_hidden *hidden)
{
    APPEND(req->ret_hidden, req->ret_nhidden, hidden);
}

enum confab_err dir_results_add_id(struct dir_request *req, uint64_t id)
{
    APPEND(req->ret_ids, req->ret_nids, &id);
}

enum confab_err dir_results_add_row(struct dir_request *req, const struct dir_conv_row *row)
{
    req->rows_owned = true;
    APPEND(req->conv_rows, req->nconv_rows, row);
}
