/* The server: its name, who may come in, how it is. */
import { AdminApi, type RegistrationMode } from '@confab/client';
import { useState } from 'preact/hooks';
import type { AppState } from '../app-state.js';
import { Field } from '../parts/field.js';
import { useLoaded } from '../parts/loaded.js';
import { Choice } from '../parts/sections.js';
import { t } from '../strings.js';

const MODES: RegistrationMode[] = ['open', 'invite', 'closed'];

export function ServerView({ app }: { app: AppState }) {
    const api = new AdminApi(app.client.rest);
    const settings = useLoaded(() => api.settings());
    const facts = useLoaded(() => app.client.rest.server());
    const status = useLoaded(() => api.status());
    const [typed, setTyped] = useState<string>(); // undefined: nothing yet, the name is as loaded
    const name = typed ?? settings.value?.serverName ?? '';
    const change = async (c: { registration?: RegistrationMode; serverName?: string }) => {
        if (await app.attempt(() => api.changeSettings(c))) {
            app.tell(t.saved);
        }
        settings.again();
    };
    return (
        <>
            {settings.state}
            {settings.value && (
                <>
                    <form class="inline-form"
                        onSubmit={(e) => {
                            e.preventDefault();
                            void change({ serverName: name.trim() });
                        }}
                    >
                        <Field label={t.serverName} value={name} onValue={setTyped} maxLength={100} />
                        <button type="submit" class="primary" disabled={name.trim() === '' || name.trim() === settings.value.serverName}>
                            {t.save}
                        </button>
                    </form>
                    <Choice label={t.registration} value={settings.value.registration}
                        options={MODES.map((m) => [m, t.registrationModes[m]])}
                        onChange={(registration) => void change({ registration })} />
                </>
            )}
            <dl class="facts block">
                <dt>{t.version}</dt>
                <dd data-test="version">{facts.value?.version ?? '–'}</dd>
                {status.value && (
                    <>
                        <dt>{t.serverState}</dt>
                        <dd>{status.value.ready ? t.serverReady : t.serverNotReady}</dd>
                    </>
                )}
                {status.value && status.value.notices.length > 0 && (
                    <>
                        <dt>{t.serverNotices}</dt>
                        <dd>{status.value.notices.join(' ')}</dd>
                    </>
                )}
                {facts.value && facts.value.features.length > 0 && (
                    <>
                        <dt>{t.serverFeatures}</dt>
                        <dd dir="ltr">{facts.value.features.join(', ')}</dd>
                    </>
                )}
            </dl>
        </>
    );
}
