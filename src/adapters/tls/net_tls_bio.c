/* How OpenSSL reads and writes: through the net below, without a buffer between. */
#include "adapters/tls/tls_internal.h"

static int bio_read(BIO *b, char *out, int n)
{
    struct tconn *t = BIO_get_data(b);
    size_t got = 0;
    BIO_clear_retry_flags(b);
    if (n <= 0 || (t->bits & BIT_END)) {
        return 0;
    }
    /* A short read is as good as CONFAB_AGAIN, and spares the call that would say so. */
    enum confab_err err = CONFAB_AGAIN;
    if (!(t->bits & BIT_DRY)) {
        err = t->n->below->ops->recv(t->n->below, t->handle, out, (size_t)n, &got);
    }
    if (err == CONFAB_OK) {
        t->bits |= got < (size_t)n ? BIT_DRY : 0;
        return (int)got;
    }
    if (err == CONFAB_AGAIN) {
        t->bits |= BIT_DRY;
        BIO_set_retry_read(b);
        return -1;
    }
    if (err == CONFAB_EOF) {
        t->bits |= BIT_END;
        return 0;
    }
    return -1;
}

static int bio_write(BIO *b, const char *p, int n)
{
    struct tconn *t = BIO_get_data(b);
    size_t done = 0;
    struct iovec iov = {(void *)(uintptr_t)p, (size_t)n};
    BIO_clear_retry_flags(b);
    enum confab_err err = t->n->below->ops->writev(t->n->below, t->handle, &iov, 1, &done);
    if (err == CONFAB_OK) {
        return (int)done;
    }
    if (err == CONFAB_AGAIN) {
        BIO_set_retry_write(b);
    }
    return -1;
}

static long bio_ctrl(BIO *b, int cmd, long number, void *parg)
{
    (void)number;
    (void)parg;
    const struct tconn *t = BIO_get_data(b);
    switch (cmd) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF:
        return t && (t->bits & BIT_END);
    default:
        return 0;
    }
}

static int bio_create(BIO *b)
{
    BIO_set_init(b, 1);
    return 1;
}

BIO_METHOD *net_tls_bio_method(void)
{
    /* Without an index of its own: there are 128 in a process, and nobody looks for this type. */
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "confab net");
    if (m && BIO_meth_set_read(m, bio_read) == 1 && BIO_meth_set_write(m, bio_write) == 1 &&
        BIO_meth_set_ctrl(m, bio_ctrl) == 1 && BIO_meth_set_create(m, bio_create) == 1) {
        return m;
    }
    BIO_meth_free(m);
    return NULL;
}
