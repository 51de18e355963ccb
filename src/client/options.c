/* Defaults of confab_options, and the names of what they choose between. */
#include <confab/client.h>

#include <string.h>

const char *confab_transport_name(enum confab_transport transport)
{
    static const char *const names[] = {
        [CONFAB_TRANSPORT_AUTO] = "auto",
        [CONFAB_TRANSPORT_WS] = "ws",
        [CONFAB_TRANSPORT_SSE] = "sse",
        [CONFAB_TRANSPORT_POLL] = "poll",
    };
    return transport <= CONFAB_TRANSPORT_POLL ? names[transport] : "";
}

void confab_options_init(struct confab_options *options)
{
    memset(options, 0, sizeof(*options));
    options->size = sizeof(*options);
    options->fill_max = UINT64_MAX;
    options->outbox_max = 1000;
    options->outbox_bytes_max = 8U * 1024U * 1024U;
    options->send_attempts_max = 30;
    options->held_bytes_max = 4U * 1024U * 1024U;
    options->conversations_max = 65536;
    options->frame_bytes_max = 16U * 1024U * 1024U;
    options->backoff_min_ms = 250;
    options->backoff_max_ms = 30000;
    options->timeout_ms = 15000;
}
