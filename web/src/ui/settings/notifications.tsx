/* What this browser tells of, and when not. */
import { useState } from 'preact/hooks';
import type { AppState } from '../app-state.js';
import { titleOf } from '../list.js';
import { allowNotifications, changeNotify, notifySettings, permission, tryNotification } from '../notify.js';
import { Avatar } from '../parts/avatar.js';
import { Switch } from '../parts/sections.js';
import { t } from '../strings.js';

export function NotificationSettings({ app }: { app: AppState }) {
    app.seen('list');
    const s = notifySettings.value;
    const [allowed, setAllowed] = useState(permission());
    const turn = async (on: boolean) => {
        changeNotify({ on });
        if (on) {
            setAllowed(await allowNotifications());
        }
    };
    const hint = allowed === 'missing' ? t.notifyMissing : allowed === 'denied' ? t.notifyDenied : t.notifyHint;
    const possible = allowed === 'granted' || allowed === 'default';
    const muted = app.client.conversations().filter((c) => c.muted);
    return (
        <>
            <Switch label={t.notifyOn} hint={hint} checked={s.on && allowed === 'granted'} disabled={!possible}
                onChange={(on) => void turn(on)} />
            <Switch label={t.notifyPreview} checked={s.preview} disabled={!possible} onChange={(preview) => changeNotify({ preview })} />
            <Switch label={t.notifySound} checked={s.sound} onChange={(sound) => changeNotify({ sound })} />
            <button type="button" class="plain" onClick={() => void tryNotification()}>{t.notifyTest}</button>
            <div class="block">
                <Switch label={t.dnd} hint={t.dndHint} checked={s.quiet} onChange={(quiet) => changeNotify({ quiet })} />
                {s.quiet && (
                    <div class="field-pair">
                        <label>
                            {t.dndFrom}
                            <input type="time" value={s.from} required onChange={(e) => changeTime('from', e.currentTarget.value)} />
                        </label>
                        <label>
                            {t.dndTo}
                            <input type="time" value={s.to} required onChange={(e) => changeTime('to', e.currentTarget.value)} />
                        </label>
                    </div>
                )}
            </div>
            <div class="block">
                <h4 class="block-title">{t.mutedOnes}</h4>
                {muted.length === 0 && <p class="hint">{t.mutedNone}</p>}
                <ul class="people people-list">
                    {muted.map((c) => (
                        <li key={c.id} class="person person-row" data-test="muted">
                            <Avatar id={c.with ?? c.id} name={titleOf(app, c)} />
                            <span class="person-text">
                                <span class="person-name" dir="auto">{titleOf(app, c)}</span>
                            </span>
                            <button type="button" class="link" onClick={() => void app.attempt(() => app.client.rest.mute(c.id, null))}>
                                {t.unmute}
                            </button>
                        </li>
                    ))}
                </ul>
            </div>
        </>
    );
}

function changeTime(key: 'from' | 'to', value: string): void {
    if (value !== '') {
        changeNotify({ [key]: value });
    }
}
