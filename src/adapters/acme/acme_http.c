#include "adapters/acme/acme_http.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"

#define BODY_MAX        65536U
#define CONNECT_MS      10000L
#define REQUEST_MS      30000L
#define RETRY_AFTER_MAX 86400

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct acme_http *h = arg;
    size_t bytes = size * n;
    if (h->body.len + bytes > BODY_MAX) {
        return 0;
    }
    buf_put(&h->body, p, bytes);
    return buf_ok(&h->body) ? bytes : 0;
}

/* The value of a header of that name, without its line end; what is too long counts as not there.
 */
static void header_take(const char *p, size_t n, const char *name, char *ret, size_t size)
{
    size_t len = strlen(name);
    if (n <= len || strncasecmp(p, name, len) != 0 || p[len] != ':') {
        return;
    }
    p += len + 1;
    n -= len + 1;
    while (n > 0 && (*p == ' ' || *p == '\t')) {
        p++;
        n--;
    }
    while (n > 0 && (p[n - 1] == '\r' || p[n - 1] == '\n' || p[n - 1] == ' ')) {
        n--;
    }
    if (n < size) {
        memcpy(ret, p, n);
        ret[n] = '\0';
    }
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    struct acme_http *h = arg;
    char text[32] = "";
    header_take(p, size * n, "Replay-Nonce", h->nonce, sizeof(h->nonce));
    header_take(p, size * n, "Location", h->location, sizeof(h->location));
    header_take(p, size * n, "Retry-After", text, sizeof(text));
    if (text[0] != '\0') {
        /* A date instead of a number reads as nothing: our own waiting is good for it. */
        long seconds = strtol(text, NULL, 10);
        h->retry_after_s = (uint32_t)MIN(MAX(seconds, 0), RETRY_AFTER_MAX);
    }
    return size * n;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct acme_http *h = arg;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return atomic_load(h->stop) ? 1 : 0;
}

enum confab_err acme_http_open(struct acme_http *h, const char *ca_file, const atomic_bool *stop)
{
    memset(h, 0, sizeof(*h));
    h->stop = stop;
    h->curl = curl_easy_init();
    h->headers = curl_slist_append(NULL, "Content-Type: application/jose+json");
    if (!h->curl || !h->headers ||
        curl_easy_setopt(h->curl, CURLOPT_PROTOCOLS_STR, "https") != CURLE_OK ||
        (ca_file && curl_easy_setopt(h->curl, CURLOPT_CAINFO, ca_file) != CURLE_OK)) {
        acme_http_close(h);
        return CONFAB_NOMEM;
    }
    (void)curl_easy_setopt(h->curl, CURLOPT_USERAGENT, "Confab");
    (void)curl_easy_setopt(h->curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(h->curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    (void)curl_easy_setopt(h->curl, CURLOPT_TIMEOUT_MS, REQUEST_MS);
    (void)curl_easy_setopt(h->curl, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(h->curl, CURLOPT_WRITEDATA, h);
    (void)curl_easy_setopt(h->curl, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(h->curl, CURLOPT_HEADERDATA, h);
    (void)curl_easy_setopt(h->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    (void)curl_easy_setopt(h->curl, CURLOPT_XFERINFODATA, h);
    (void)curl_easy_setopt(h->curl, CURLOPT_NOPROGRESS, 0L);
    return CONFAB_OK;
}

void acme_http_close(struct acme_http *h)
{
    curl_easy_cleanup(h->curl);
    curl_slist_free_all(h->headers);
    buf_deinit(&h->body);
    h->curl = h->headers = NULL;
}

enum confab_err acme_http_request(struct acme_http *h, const char *url, const struct buf *body)
{
    char problem[CURL_ERROR_SIZE] = "";
    buf_clear(&h->body);
    h->location[0] = '\0';
    h->retry_after_s = 0;
    h->status = 0;
    if (body) {
        h->nonce[0] = '\0'; /* used */
    }
    (void)curl_easy_setopt(h->curl, CURLOPT_ERRORBUFFER, problem);
    (void)curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, body ? h->headers : NULL);
    if (body) {
        (void)curl_easy_setopt(h->curl, CURLOPT_POST, 1L);
        (void)curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS, body->data);
        (void)curl_easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE, (long)body->len);
    } else {
        (void)curl_easy_setopt(h->curl, CURLOPT_HTTPGET, 1L);
    }
    CURLcode code = curl_easy_setopt(h->curl, CURLOPT_URL, url);
    code = code == CURLE_OK ? curl_easy_perform(h->curl) : code;
    (void)curl_easy_setopt(h->curl, CURLOPT_ERRORBUFFER, NULL);
    if (code == CURLE_OK) {
        (void)curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &h->status);
        return CONFAB_OK;
    }
    (void)snprintf(h->why, sizeof(h->why), "%.100s: %.80s", url,
                   problem[0] ? problem : curl_easy_strerror(code));
    if (atomic_load(h->stop)) {
        return CONFAB_CLOSED;
    }
    return code == CURLE_WRITE_ERROR ? CONFAB_TOO_LARGE : CONFAB_NET;
}
