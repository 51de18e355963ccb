/* Writing heads. */
#include "base/check.h"
#include "base/id.h"
#include "proto/http1.h"

const char *http_reason(int status)
{
    switch (status) {
    case 100:
        return "Continue";
    case 101:
        return "Switching Protocols";
    case 200:
        return "OK";
    case 201:
        return "Created";
    case 202:
        return "Accepted";
    case 204:
        return "No Content";
    case 206:
        return "Partial Content";
    case 301:
        return "Moved Permanently";
    case 302:
        return "Found";
    case 303:
        return "See Other";
    case 304:
        return "Not Modified";
    case 307:
        return "Temporary Redirect";
    case 308:
        return "Permanent Redirect";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 406:
        return "Not Acceptable";
    case 408:
        return "Request Timeout";
    case 409:
        return "Conflict";
    case 410:
        return "Gone";
    case 411:
        return "Length Required";
    case 412:
        return "Precondition Failed";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 415:
        return "Unsupported Media Type";
    case 416:
        return "Range Not Satisfiable";
    case 417:
        return "Expectation Failed";
    case 422:
        return "Unprocessable Content";
    case 426:
        return "Upgrade Required";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 501:
        return "Not Implemented";
    case 502:
        return "Bad Gateway";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    case 505:
        return "HTTP Version Not Supported";
    case 507:
        return "Insufficient Storage";
    default:
        return "Unknown";
    }
}

static bool one_line(const void *p, size_t n)
{
    return n == 0 || (!memchr(p, '\r', n) && !memchr(p, '\n', n));
}

void http_put_status(struct buf *b, int status)
{
    DCHECK(status >= 100 && status <= 999);
    char t[] = "HTTP/1.1 000 ";
    t[9] = (char)('0' + status / 100 % 10);
    t[10] = (char)('0' + status / 10 % 10);
    t[11] = (char)('0' + status % 10);
    buf_put(b, t, sizeof(t) - 1);
    buf_put_str(b, http_reason(status));
    buf_put(b, "\r\n", 2);
}

void http_put_header(struct buf *b, const char *name, struct span value)
{
    DCHECK(one_line(name, strlen(name)));
    DCHECK(one_line(value.p, value.n));
    buf_put_str(b, name);
    buf_put(b, ": ", 2);
    buf_put(b, value.p, value.n);
    buf_put(b, "\r\n", 2);
}

void http_put_header_str(struct buf *b, const char *name, const char *value)
{
    http_put_header(b, name, span_str(value));
}

void http_put_header_u64(struct buf *b, const char *name, uint64_t value)
{
    char t[ID_NUM_TEXT];
    size_t n = id_text(value, t);
    http_put_header(b, name, span_of(t, n));
}

void http_put_end(struct buf *b)
{
    buf_put(b, "\r\n", 2);
}

void http_put_head(struct buf *b, int status, const char *type, uint64_t content_length,
                   bool keep_alive, uint8_t minor, struct span extra)
{
    http_put_status(b, status);
    if (type) {
        http_put_header_str(b, "Content-Type", type);
    }
    if (status >= 200 && status != 204 && status != 304) {
        http_put_header_u64(b, "Content-Length", content_length);
    }
    if (!keep_alive) {
        http_put_header_str(b, "Connection", "close");
    } else if (minor == 0) {
        http_put_header_str(b, "Connection", "keep-alive");
    }
    buf_put(b, extra.p, extra.n);
    http_put_end(b);
}

void http_put_continue(struct buf *b)
{
    http_put_status(b, 100);
    http_put_end(b);
}

void http_put_request(struct buf *b, const char *method, struct span target, struct span host)
{
    DCHECK(one_line(target.p, target.n) && !memchr(target.p, ' ', target.n));
    buf_put_str(b, method);
    buf_put_u8(b, ' ');
    buf_put(b, target.p, target.n);
    buf_put_str(b, " HTTP/1.1\r\n");
    http_put_header(b, "Host", host);
}
