/* Between api_admin_users.c, which has the table, and api_provision.c. */
#ifndef CONFAB_GATEWAY_API_ADMIN_USERS_H
#define CONFAB_GATEWAY_API_ADMIN_USERS_H

#include "gateway/api.h"

/* POST /admin/users */
void api_provision(struct api_request *r);

#endif
