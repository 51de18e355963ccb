/* How the connection is, where it is not as it should be. */
import { useEffect, useState } from 'preact/hooks';
import type { AppState } from './app-state.js';
import { t } from './strings.js';

/* What there is to say, if anything. */
function Banner({ app }: { app: AppState }) {
    app.seen('link');
    const { link, retryAt } = app.client;
    const [now, setNow] = useState(Date.now());
    useEffect(() => {
        const timer = setInterval(() => setNow(Date.now()), 500);
        return () => clearInterval(timer);
    }, []);
    const seconds = Math.max(Math.ceil((retryAt - now) / 1000), 0);
    const text =
        link === 'offline'
            ? seconds > 1
                ? t.offlineUntil(seconds)
                : t.offline
            : link === 'connecting'
              ? t.connecting
              : link === 'syncing'
                ? t.syncing
                : undefined;
    return text === undefined ? null : (
        <p class="banner">
            <span class="banner-dot" aria-hidden="true" />
            <span class="banner-text">{text}</span>
            {link === 'offline' && (
                <button type="button" class="link" onClick={() => app.client.wake()}>
                    {t.tryNow}
                </button>
            )}
        </p>
    );
}

/* In the list. */
export function LinkBanner({ app }: { app: AppState }) {
    app.seen('link');
    const { link, storageFailed } = app.client;
    return (
        <>
            <div class={`link-state link-${link}`} data-test="link" data-link={link}>
                <Banner app={app} />
                <span class="unseen" role="status">
                    {link === 'offline' ? t.offline : link === 'live' ? t.online : ''}
                </span>
            </div>
            {storageFailed && <p class="banner banner-warning">{t.storageFailed}</p>}
        </>
    );
}

/* In a conversation, where the list is not beside it. */
export function PaneLink({ app }: { app: AppState }) {
    app.seen('link');
    return (
        <div class={`pane-link link-${app.client.link}`} data-test="pane-link">
            <Banner app={app} />
        </div>
    );
}
