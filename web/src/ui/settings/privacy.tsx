/* What others may see. */
import { AccountApi, type Privacy } from '@confab/client';
import { useState } from 'preact/hooks';
import type { AppState } from '../app-state.js';
import { Switch } from '../parts/sections.js';
import { t } from '../strings.js';

export function PrivacySettings({ app }: { app: AppState }) {
    app.seen('account');
    const privacy = app.client.me?.privacy;
    const [busy, setBusy] = useState(false);
    if (!privacy) {
        return <p class="lead">{t.privacyMissing}</p>;
    }
    const set = async (change: Partial<Privacy>) => {
        setBusy(true);
        await app.attempt(async () => {
            app.client.learnOwn(await new AccountApi(app.client.rest).change({ privacy: change }));
        });
        setBusy(false);
    };
    return (
        <>
            <p class="lead">{t.privacyHint}</p>
            <Switch label={t.privacyOnline} checked={privacy.online} disabled={busy} onChange={(online) => void set({ online })} />
            <Switch label={t.privacyLastSeen} checked={privacy.lastSeen} disabled={busy}
                onChange={(lastSeen) => void set({ lastSeen })} />
            <Switch label={t.privacyRead} checked={privacy.readReceipts} disabled={busy}
                onChange={(readReceipts) => void set({ readReceipts })} />
        </>
    );
}
