/* Where one is signed in: names, sign-out. */
import { AccountApi, type Device } from '@confab/client';
import { useState } from 'preact/hooks';
import type { AppState } from '../app-state.js';
import { Field } from '../parts/field.js';
import { useLoaded } from '../parts/loaded.js';
import { agoText, t } from '../strings.js';

export function Devices({ app }: { app: AppState }) {
    const api = new AccountApi(app.client.rest);
    const devices = useLoaded(() => api.devices());
    return (
        <>
            <p class="lead">{t.devicesHint}</p>
            {devices.state}
            <ul class="cards">
                {devices.value?.map((d) => (
                    <DeviceCard key={d.deviceId} app={app} api={api} device={d} onChange={devices.again} />
                ))}
            </ul>
        </>
    );
}

function DeviceCard({ app, api, device, onChange }: { app: AppState; api: AccountApi; device: Device; onChange: () => void }) {
    const [mode, setMode] = useState<'plain' | 'rename'>('plain');
    const [name, setName] = useState(device.name);
    const rename = async () => {
        if (await app.attempt(() => api.renameDevice(device.deviceId, name.trim()))) {
            setMode('plain');
            onChange();
        }
    };
    const doSignOut = async () => {
        if (await app.attempt(() => api.signOutDevice(device.deviceId))) {
            app.tell(t.deviceSignedOut);
            onChange();
        }
    };
    const title = device.name === '' ? device.deviceId : device.name;
    const signOut = () =>
        (app.question.value = {
            title: t.signOutDevice(title),
            text: t.signOutDeviceQuestion,
            action: t.signOut,
            onYes: () => void doSignOut(),
        });
    return (
        <li class="card" data-test="device">
            <div class="card-head">
                <div class="card-text">
                    <p class="person-name" dir="auto">{title}</p>
                    <p class="person-user">
                        {device.current
                            ? t.thisDevice
                            : device.lastUsedAt !== undefined && t.lastUsed(agoText(device.lastUsedAt, Date.now()))}
                        {device.lastAddress !== '' && <span dir="ltr"> · {device.lastAddress}</span>}
                    </p>
                </div>
                {mode === 'plain' && (
                    <div class="card-buttons">
                        <button type="button" class="link" onClick={() => setMode('rename')}>{t.renameDevice}</button>
                        {!device.current && (
                            <button type="button" class="link danger" aria-label={t.signOutDevice(title)} onClick={signOut}>
                                {t.signOut}
                            </button>
                        )}
                    </div>
                )}
            </div>
            {mode === 'rename' && (
                <form
                    onSubmit={(e) => {
                        e.preventDefault();
                        void rename();
                    }}
                >
                    <Field label={t.deviceName} value={name} onValue={setName} maxLength={64} autofocus />
                    <div class="confirm-foot">
                        <button type="button" class="plain" onClick={() => setMode('plain')}>{t.cancel}</button>
                        <button type="submit" class="primary" disabled={name.trim() === ''}>{t.save}</button>
                    </div>
                </form>
            )}
        </li>
    );
}
