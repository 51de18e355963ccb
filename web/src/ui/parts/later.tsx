/* Panes that are loaded when they are opened for the first time: a first visit does without them. */
import type { ComponentType } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { AppState } from '../app-state.js';
import { problemText, t } from '../strings.js';

type Pane = ComponentType<{ app: AppState; section: string }>;

const panes = {
    settings: async (): Promise<Pane> => (await import('../settings/page.js')).SettingsPane,
    admin: async (): Promise<Pane> => (await import('../admin/page.js')).AdminPane,
};
const loaded = new Map<string, Pane>();

export function Later({ name, app, section }: { name: keyof typeof panes; app: AppState; section: string }) {
    const [, setThere] = useState<string>();
    const [failed, setFailed] = useState<string>();
    const load = (): void => {
        setFailed(undefined);
        panes[name]().then(
            (pane) => {
                loaded.set(name, pane);
                setThere(name);
            },
            (e: unknown) => setFailed(problemText(e)),
        );
    };
    useEffect(() => {
        if (!loaded.has(name)) {
            load();
        }
    }, [name]);
    const Shown = loaded.get(name);
    return Shown ? (
        <Shown app={app} section={section} />
    ) : (
        <main class="pane pane-empty" aria-label={t.loading}>
            {failed === undefined ? (
                <div class="spinner" role="img" aria-label={t.loading} />
            ) : (
                <p class="form-problem" role="alert">
                    {failed}{' '}
                    <button type="button" class="link" onClick={load}>{t.tryAgain}</button>
                </p>
            )}
        </main>
    );
}
