/* The files that are part of the program: its table is made by the build, see cmake/web.cmake. */
#ifndef CONFAB_CONFABD_FILES_H
#define CONFAB_CONFABD_FILES_H

#include "gateway/static.h"

extern const struct static_set confab_files;

#endif
