/*
 * What the contract tests of the directory run on: each adapter, on its own thread and inline, and
 * behind the fault decorator. One directory at a time.
 */
#ifndef TESTS_CONTRACT_DIR_RIG_H
#define TESTS_CONTRACT_DIR_RIG_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
/* clang-format on */

#include "adapters/fault/directory_fault.h"
#include "base/check.h"
#include "gate.h"
#include "ports/directory.h"

struct dir_kind {
    const char *name;
    bool sqlite;
    bool threads;
    bool fault;
};
struct dir_rig {
    const struct dir_kind *kind;
    struct executor *ex;
    struct directory *inner;
    struct directory *dir;
    char tmp[64];
    char path[200];
};
extern struct dir_rig dir_rig;

/* Closes it and opens it again on the same data; the one in memory stays as it is. */
void dir_rig_reopen(void);
/* Submits and waits; returns ret_err. */
enum confab_err dir_run(struct dir_request *req);
/* Submits them in few groups and waits; with the second each must go well. */
void dir_submit_all(struct dir_request *reqs, unsigned n);
void dir_run_all(struct dir_request *reqs, unsigned n);

/* An account with texts made of the name, and how it is found again. */
struct dir_request dir_account_request(uint64_t id, const char *name);
enum confab_err dir_create(uint64_t id, const char *name);
enum confab_err dir_find_name(const char *name, struct dir_account *ret);
enum confab_err dir_find_id(uint64_t id, struct dir_account *ret);
/* A device whose hashes, and all else, are made of its number; three are allowed. */
struct dir_request dir_device_request(uint64_t user, uint64_t device);
enum confab_err dir_add_device(uint64_t user, uint64_t device);
enum confab_err dir_find_device(uint64_t device, struct dir_device *ret);
enum confab_err dir_revoke(uint64_t user, uint64_t device, uint64_t now_ms);
/* `want` holds ids, zero at the end. */
void dir_expect_devices(uint64_t user, const uint64_t *want);
void dir_expect_ids(const struct dir_request *req, const uint64_t *want); /* in any order */
/* A record to be written with a request; `n` is the last digit of all its numbers. */
struct dir_audit dir_audit(const char *action, unsigned n);
/* How many records there are. */
uint32_t dir_audits(void);

int dir_rig_setup(void **state);
int dir_rig_teardown(void **state);
#define DIR_CASE(f)                                                                                \
    {                                                                                              \
#f, f, dir_rig_setup, dir_rig_teardown, NULL                                               \
    }
/* Runs the cases on every kind, or on those with a file only; returns how many failed. */
int dir_rig_main(const struct CMUnitTest *cases, unsigned n);
int dir_rig_main_sqlite(const struct CMUnitTest *cases, unsigned n);

#endif
