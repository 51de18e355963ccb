/*
 * Prints what the server's own tables say about its interfaces, as JSON: the routes, and the events
 * of the socket. The documents in docs/api are compared with it (test_openapi.py,
 * test_asyncapi.py).
 */
#include <stdio.h>
#include <stdlib.h>

#include "gateway/api.h"
#include "proto/wire.h"

static const char *method_of(enum http_method m)
{
    switch (m) {
    case HTTP_GET:
        return "GET";
    case HTTP_POST:
        return "POST";
    case HTTP_PUT:
        return "PUT";
    case HTTP_PATCH:
        return "PATCH";
    case HTTP_DELETE:
        return "DELETE";
    default:
        return "?";
    }
}

static void put_routes(struct json_writer *w)
{
    struct api_route r;
    json_w_key(w, "routes");
    json_w_array(w);
    for (size_t i = 0; api_route_at(i, &r); i++) {
        json_w_object(w);
        json_w_kcstr(w, "method", method_of(r.method));
        json_w_kcstr(w, "path", r.path);
        json_w_kbool(w, "open", (r.flags & API_OPEN) != 0);
        json_w_object_end(w);
    }
    json_w_array_end(w);
}

static void put_client_events(struct json_writer *w, const char *key, bool want_short)
{
    const char *name;
    bool is_short;
    json_w_key(w, key);
    json_w_array(w);
    for (size_t i = 0; (name = wire_client_event_at(i, &is_short)) != NULL; i++) {
        if (is_short == want_short) {
            json_w_cstr(w, name);
        }
    }
    json_w_array_end(w);
}

int main(void)
{
    struct buf out = {0};
    struct json_writer w;
    const char *name;
    json_w_init(&w, &out);
    json_w_object(&w);
    put_routes(&w);
    put_client_events(&w, "client_events", false);
    put_client_events(&w, "client_events_short", true);
    json_w_key(&w, "server_events");
    json_w_array(&w);
    for (size_t i = 0; (name = wire_server_event_at(i)) != NULL; i++) {
        json_w_cstr(&w, name);
    }
    json_w_array_end(&w);
    json_w_object_end(&w);
    buf_put_str(&out, "\n");
    bool ok = buf_ok(&out) && fwrite(out.data, 1, out.len, stdout) == out.len;
    buf_deinit(&out);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
