/* All of libconfab; docs/api/libconfab.md explains it. */
#ifndef CONFAB_CONFAB_H
#define CONFAB_CONFAB_H

#include <confab/admin.h>
#include <confab/client.h>
#include <confab/error.h>
#include <confab/rest.h>
#include <confab/types.h>

#endif
