#include "base/err.h"

const char *err_text(enum confab_err err)
{
    switch (err) {
#define X(sym, val, wire, status, text)                                                            \
    case sym:                                                                                      \
        return text;
#include "base/errors.def"
#undef X
    }
    return "unknown error";
}

const char *err_wire(enum confab_err err)
{
    switch (err) {
#define X(sym, val, wire, status, text)                                                            \
    case sym:                                                                                      \
        return wire;
#include "base/errors.def"
#undef X
    }
    return "internal";
}

int err_status(enum confab_err err)
{
    switch (err) {
#define X(sym, val, wire, status, text)                                                            \
    case sym:                                                                                      \
        return status;
#include "base/errors.def"
#undef X
    }
    return 500;
}
